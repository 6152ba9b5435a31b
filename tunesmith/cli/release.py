"""tunesmith release: register the judged model; the alias moves when the gate passed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import AsJson, Changes, RecipePath, command_line, read_recipe, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

__all__ = ["command"]


def command(
    recipe: RecipePath,
    changes: Changes = None,
    force: Annotated[bool, typer.Option("--force", help="Move the alias even when the gate did not pass.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register the tuned model as a new version, with its evidence.

    Exit code: 0 the alias points to it, 1 it was registered but the gate did not pass.
    """
    settings, checked = read_settings(), read_recipe(recipe, changes)
    from tunesmith import pipeline
    from tunesmith.release.registry import open_registry

    release = pipeline.release(checked, recipe.parent, settings, RichProgress())
    registry = open_registry(settings)
    alias = checked.release.alias
    if force:
        registry.move_alias(release.name, alias, release.version)
    current = registry.aliases(release.name).get(alias)
    registry.close()
    moved = current == release.version
    if as_json:
        show_json(
            {**release.model_dump(mode="json"), "id": release.identity(), "alias": alias, "alias_version": current}
        )
        raise typer.Exit(0 if moved else 1)
    console = stdout()
    console.print(f"{release.reference}  {release.identity()[:16]}  gate: {release.outcome}", markup=False)
    console.print(f"card: {Path(release.adapter_path).with_name('README.md')}", markup=False, soft_wrap=True)
    if moved:
        console.print(f"{release.name}:{alias} -> v{release.version}", markup=False)
        console.print(f"next: tunesmith chat {release.name}", markup=False)
    else:
        where = f"stays at v{current}" if current else "does not exist yet"
        console.print(f"{release.name}:{alias} {where}, because the gate said {release.outcome}.", markup=False)
        again = command_line("release", recipe, changes, "--force")
        console.print(f"move it all the same: {again}", markup=False, soft_wrap=True)
        raise typer.Exit(1)
