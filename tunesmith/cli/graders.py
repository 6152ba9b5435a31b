"""tunesmith graders: check a grader, and try it on one answer."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.options import AsJson
from tunesmith.cli.output import show_json

__all__ = ["Action", "command"]


class Action(StrEnum):
    """What to do with the grader."""

    validate = "validate"
    run = "run"


def command(
    action: Annotated[Action, typer.Argument(help="validate: check its fields. run: grade one answer.")],
    grader: Annotated[Path, typer.Argument(metavar="GRADER", help="The grader, a YAML or JSON file.")],
    answer: Annotated[str | None, typer.Option(help="run: the answer to grade.")] = None,
    item: Annotated[str, typer.Option(help="run: the row's fields, as JSON or the path of a JSON file.")] = "{}",
    as_json: AsJson = False,
) -> None:
    """Check a grader, or try it on one answer.

    For example: tunesmith graders run grader.yaml --answer "paid" --item '{"expected": "paid"}'
    """
    from tunesmith.documents import read_document
    from tunesmith.errors import Problem, RecipeError
    from tunesmith.grade.grader import Grader, load_grader

    made: Grader = load_grader(read_document(grader).data)
    if action is Action.validate:
        if as_json:
            show_json(made)
        else:
            typer.echo(f"{grader}: a valid {type(made).__module__.rpartition('.')[2]} grader")
        return
    if answer is None:
        raise RecipeError([Problem("is missing", field="--answer", fix="give the answer to grade")])
    _show(made, answer, _fields(item), as_json)


def _show(grader: Any, answer: str, fields: dict[str, Any], as_json: bool) -> None:
    import asyncio

    from tunesmith.grade.grader import Answered, Sample

    if warning := asyncio.run(grader.warning()):
        typer.secho(warning, fg="yellow", err=True)
    (grade,) = asyncio.run(grader.grade([Answered(Sample(output_text=answer), fields)]))
    if as_json:
        show_json(grade)
    elif grade.score is None:
        typer.echo(f"unscored ({grade.error}): {grade.detail}")
    else:
        typer.echo(f"score {grade.score:g}")
        for name, score in grade.sub_scores.items():
            typer.echo(f"  {name}: {'unscored' if score is None else f'{score:g}'}")
    if grade.score is None:
        raise typer.Exit(1)


def _fields(text: str) -> dict[str, Any]:
    from tunesmith.errors import Problem, RecipeError

    try:
        fields = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError([Problem(f"cannot be read: {error}", field="--item", fix="give a JSON object")]) from None
    if not isinstance(fields, dict):
        raise RecipeError([Problem("is no JSON object", field="--item")])
    return fields
