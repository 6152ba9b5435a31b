"""tunesmith augment: new rows made of given ones, kept when they pass the same checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import RichProgress, show_json

if TYPE_CHECKING:
    from tunesmith.prepare.augmentation import Way
    from tunesmith.prepare.augmenting import Augmented, Checks, Parent
    from tunesmith.types.conversation import Conversation
    from tunesmith.types.recipe import SourceSpec

__all__ = ["command"]


def command(
    source: Annotated[Path, typer.Argument(metavar="ROWS", help="Conversations, in any format, or a recipe.")],
    out: Annotated[Path, typer.Option(help="The JSONL file of chat rows to write: the given rows and the new ones.")],
    way: Annotated[list[str], typer.Option(help="NAME, or {name: NAME, option: value, count: 2}; repeatable.")],
    teacher: Annotated[str | None, typer.Option(help="A release, or MODEL@URL of an OpenAI-compatible server.")] = None,
    grader: Annotated[str | None, typer.Option(help="FILE or FILE@LEAST: keep what it gives that grade or 1.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make new rows of given ones, by a model or by typing errors.

    Paraphrases, variations, back-translations, synonyms, simpler words, typing errors, rows from seeds.
    Of a recipe (.yaml), the rows of its sources that are not held out are taken, and its steps on single rows must let
    new rows pass. Ways: tunesmith plugins augment. Answers are remembered in OUT.answers.jsonl, so an interrupted run
    goes on where it was. The server's key is read from OPENAI_API_KEY.
    """
    import asyncio

    from tunesmith.errors import DataError
    from tunesmith.prepare.augmenting import Checks
    from tunesmith.types.recipe import SourceSpec

    ways = _ways(way)
    sources, steps = _recipe(source) if source.suffix in (".yaml", ".yml") else ((SourceSpec(path=source.name),), ())
    parents = _parents(sources, source.parent)
    checks = Checks(steps, *_accepted(grader)) if grader else Checks(steps)
    with _server(teacher) as found:
        made, asked, remembered = asyncio.run(_augment(parents, ways, found, checks, out))
    if not made.rows:
        raise DataError(message=f"Not one new row was kept: {dict(made.ledger)}.", hint=made.complaint or None)
    _write(out, parents, made)
    if as_json:
        shown = {"out": str(out), "parents": len(parents), "ledger": made.ledger, "complaint": made.complaint}
        show_json({**shown, "asked": asked, "remembered": remembered})
        return
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(made.ledger.items()))
    typer.echo(f"{len(parents):,} rows; new ones: {counts}\n{asked:,} questions asked, {remembered:,} remembered")
    if made.complaint:
        typer.echo(f"first failure: {made.complaint}")
    typer.echo(f"wrote {out}: use it in place of {source}; a new row lands in its parent's split")


def _ways(given: Sequence[str]) -> dict[str, tuple[Way, int]]:
    from ruamel.yaml import YAML

    from tunesmith.errors import Problem, RecipeError
    from tunesmith.prepare.augmenting import load_way

    ways = {}
    for text in given:
        read = YAML(typ="safe").load(text)
        options = dict(read) if isinstance(read, dict) else {"name": read}
        name, count = options.pop("name", None), options.pop("count", 1)
        if not isinstance(name, str):
            raise RecipeError([Problem(f"{text!r} names no way", field="--way", fix="write NAME or {name: NAME, ...}")])
        if not isinstance(count, int) or count < 1:
            raise RecipeError([Problem(f"count is {count!r}", field="--way", fix="write a whole number from 1")])
        ways[name] = (load_way(name, options), count)
    return ways


def _parents(sources: tuple[SourceSpec, ...], folder: Path) -> list[Parent]:
    from tunesmith.errors import DataError, Problem
    from tunesmith.prepare.augmenting import Parent
    from tunesmith.prepare.sources import find_sources, open_sources, parse_sources
    from tunesmith.types.conversation import Conversation

    parents = []
    for example in parse_sources(open_sources(find_sources(sources, folder))):
        content = example.content
        if not isinstance(content, Conversation):
            fix = "augment conversations (chat, prompt and completion, instruction, labelled rows)"
            problem = Problem(f"holds {content.shape} rows", file=example.source, fix=fix)
            raise DataError([problem])
        parents.append(Parent(content, f"{example.source}:{example.line}"))
    return parents


def _recipe(path: Path) -> tuple[tuple[SourceSpec, ...], tuple[Any, ...]]:
    """The sources that are not held out, and what the row steps do (others judge when the rows are prepared)."""
    from tunesmith.prepare.step import TableStep
    from tunesmith.prepare.stepping import load_steps
    from tunesmith.recipes import load_recipe

    spec = load_recipe(path).prepare
    steps = (step for _, step in load_steps(spec.steps) if not isinstance(step, TableStep))
    sources = tuple(source for source in spec.sources if source.split in ("auto", "train"))
    return sources, tuple(step.open(path.parent) for step in steps)


def _server(teacher: str | None) -> AbstractContextManager[Any]:
    """The server with the model to ask, for as long as it is needed; None without one."""
    from tunesmith.cli.server_process import model_server

    return model_server(teacher, read_settings().home) if teacher else nullcontext(None)


def _accepted(grader: str) -> tuple[Any, float]:
    """What grades rows by the grader `FILE` or `FILE@LEAST`, and the least grade."""
    from tunesmith.documents import read_document
    from tunesmith.errors import Problem, RecipeError
    from tunesmith.grade.grader import Answered, Sample, load_grader

    path, _, least = grader.partition("@")
    try:
        at_least = float(least or 1)
    except ValueError:
        problem = Problem(f"{least!r} is no grade", field="--grader", fix="write FILE@0.5, for example")
        raise RecipeError([problem]) from None
    found = load_grader(read_document(Path(path)).data)

    async def accept(rows: Sequence[Conversation]) -> list[float | None]:
        answers = [Answered(Sample(output_text=row.reference), _item(row)) for row in rows]
        return [grade.score for grade in await found.grade(answers)]

    return accept, at_least


def _item(row: Conversation) -> dict[str, Any]:
    messages = [message.model_dump(mode="json", exclude_defaults=True) for message in row.prompt]
    return {**row.metadata, "messages": messages, "input": messages[-1].get("content", "") if messages else ""}


async def _augment(
    parents: Sequence[Parent], ways: Mapping[str, tuple[Way, int]], found: Any, checks: Checks, out: Path
) -> tuple[Augmented, int, int]:
    from tunesmith.grade.judge import HttpJudge
    from tunesmith.prepare.answer_cache import RememberedAnswers
    from tunesmith.prepare.augmenting import augment

    progress = RichProgress()
    if found is None:
        return await augment(parents, ways, None, checks, progress), 0, 0
    address, model, key = found
    async with HttpJudge(address, key=key) as judge:
        with RememberedAnswers(out.with_name(f"{out.name}.answers.jsonl"), model, _asking(judge, model)) as ask:
            made = await augment(parents, ways, ask, checks, progress)
    return made, ask.asked, ask.remembered


def _asking(judge: Any, model: str) -> Any:
    from tunesmith.grade.judge import JudgeFailed
    from tunesmith.prepare.augmentation import AskFailed, Unmade

    async def ask(messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
        try:
            said = await judge.ask(model, messages, options)
        except JudgeFailed as error:
            raise AskFailed(str(error)) from None
        if said.refusal or said.cut_off:
            raise Unmade("refused" if said.refusal else "cut_off")
        return str(said.text)

    return ask


def _write(out: Path, parents: Sequence[Parent], made: Augmented) -> None:
    """The given rows and the new ones, all with their family; the file is whole or not there."""
    import os

    from tunesmith.prepare.families import FAMILY, family

    marked = ((each.row, {**each.row.metadata, FAMILY: family(each.row)}) for each in parents)
    given = (row.model_copy(update={"metadata": metadata}) for row, metadata in marked)
    partial = out.with_name(f"{out.name}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        for row in (*given, *made.rows):
            fields = row.model_dump(mode="json", exclude_defaults=True)
            stream.write(json.dumps({**fields.pop("metadata"), **fields}, ensure_ascii=False) + "\n")
    os.replace(partial, out)
