"""tunesmith prepare: read, check, split and prove the rows; no weights are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import AsJson, Changes, RecipePath, command_line, read_recipe, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.text import Text

    from tunesmith.prepare.workers import Workers
    from tunesmith.types.conversation import Rendered

__all__ = ["command", "two_colours"]

_UNTRAINED, _TRAINED = "dim", "bold green"


def command(
    recipe: RecipePath,
    changes: Changes = None,
    show: Annotated[int, typer.Option("--show", min=0, help="Print this many training rows, token by token.")] = 0,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes", min=1, help="Work on rows in so many processes; by default one, two for large data."
        ),
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Work on rows on the Ray cluster of RAY_ADDRESS.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read and check the rows, split them, prove their rendering.

    Every row is used or dropped for a named reason; no weights are loaded.
    """
    settings, checked = read_settings(), read_recipe(recipe, changes)
    from tunesmith import pipeline

    progress = RichProgress()
    stored = pipeline.prepare(checked, recipe.parent, settings, progress, _workers(processes, ray=ray))
    if as_json:
        show_json(stored.manifest)
        return
    from tunesmith.cli import tables

    console = stdout()
    console.print(tables.dataset_table(stored.manifest))
    for line in tables.ledger_lines(stored.manifest):
        console.print(line, markup=False)
    console.print(f"folder: {stored.path}", markup=False, soft_wrap=True)
    console.print(f"report: {stored.path / 'report.html'}", markup=False, soft_wrap=True)
    if show:
        from tunesmith.models.template import Renderer
        from tunesmith.models.weights import resolve_base
        from tunesmith.prepare.report.tokens import titles

        renderer = Renderer(resolve_base(checked.model, settings.home, progress).path)
        for example in stored.examples("train")[:show]:
            console.rule(f"{example.source}:{example.line}", style="dim")
            for title, conversation in zip(titles(example.content), example.content.conversations, strict=True):
                if title:
                    console.print(f"{title}:", style="bold")
                console.print(two_colours(renderer.render(conversation), renderer.piece))
        console.rule(style="dim")
        console.print(f"[{_TRAINED}]trained[/] and [{_UNTRAINED}]read only[/] tokens, divided by ·")
    console.print(f"next: {command_line('train', recipe, changes)}", markup=False, soft_wrap=True)


def _workers(processes: int | None, *, ray: bool) -> Workers | None:
    """Who works on rows; None where nobody chose."""
    if ray:
        from tunesmith.prepare.on_ray import RayWorkers

        return RayWorkers(processes or 2)
    from tunesmith.prepare.workers import Workers

    return Workers(processes) if processes else None


def two_colours(rendered: Rendered, piece: Callable[[int], str]) -> Text:
    """The row's tokens, divided by `·`: trained ones green, the others dim. `piece` gives a token's text."""
    from rich.text import Text

    text = Text()
    for token_id, weight in zip(rendered.token_ids, rendered.loss_weights, strict=True):
        text.append(piece(token_id) + "·", style=_TRAINED if weight > 0 else _UNTRAINED)
    return text
