"""tunesmith plugins: what can be named in a recipe, with every option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import AsJson
from tunesmith.cli.output import show_json, stdout

if TYPE_CHECKING:
    from tunesmith.types.base import Value

__all__ = ["command"]


def command(
    folder: Annotated[
        str | None, typer.Argument(help="Only this kind, for example `rules` or `tunesmith.gate.rules`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what a recipe can name: methods, metrics, rules, options."""
    from tunesmith import plugins
    from tunesmith.errors import NotFound, nearest

    short = {each.rsplit(".", 1)[1]: each for each in plugins.FOLDERS}
    if folder is not None and folder not in {*short, *short.values()}:
        close = nearest(folder, [*short, *short.values()])
        hint = f"{f'Did you mean {close!r}? ' if close else ''}Allowed: {', '.join(short)}"
        raise NotFound(f"There is no plugin folder {folder!r}.", hint=hint)
    chosen = plugins.FOLDERS if folder is None else (short.get(folder, folder),)
    found = {each: {name: _described(plugins.load(each, name)) for name in plugins.names(each)} for each in chosen}
    if as_json:
        show_json(found)
        return
    from tunesmith.cli import tables

    console = stdout()
    for each, named in found.items():
        table = tables.grid(each, "name", "what it is", "options")
        for column in table.columns:
            column.justify = "left"
        for name, described in named.items():
            options = "\n".join(f"{option}: {shown}" for option, shown in described["options"].items())
            table.add_row(name, described["about"], options or "-")
        console.print(table)
        console.print()


def _described(plugin: type[Value]) -> dict[str, Any]:
    about = (plugin.__doc__ or "").strip().split("\n\n")[0]
    return {
        "about": " ".join(about.split()),
        "options": {
            name: "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
            for name, field in plugin.model_fields.items()
        },
    }
