"""The registry: immutable releases with versions, and aliases that move between them and remember where they were.

A release lives in home/releases/<id>/ with its own copy of the adapter and of the evidence, so that deleting the run
that made it breaks nothing. References:

    disputes            where the alias `stable` points; the newest version when there is no such alias
    disputes@v3         version 3
    disputes:canary     where the alias `canary` points
    9f86d081            the beginning (6 characters or more) of a release's id
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tunesmith.errors import ModelError, NotFound, TunesmithError, nearest
from tunesmith.settings import Settings
from tunesmith.store import releases as store
from tunesmith.store.database import Database
from tunesmith.types.base import Value
from tunesmith.types.release import AliasMove, Release

__all__ = ["DEFAULT_ALIAS", "Registry", "now", "open_registry", "positions"]

DEFAULT_ALIAS = "stable"
_REFERENCE = re.compile(r"(?P<name>[^@:]+)(?:@v(?P<version>\d+)|:(?P<alias>[^@:]+))?")
_ID_PREFIX = re.compile(r"[0-9a-f]{6,64}")


def positions(moves: Iterable[AliasMove]) -> list[int]:
    """Versions one alias has pointed to and can be rolled back to; the last is where it points now.

    A move puts a version on top, a rollback takes the top off: v1, v2, v3, rollback gives [1, 2].
    """
    stack: list[int] = []
    for move in moves:
        if move.kind == "rollback":
            stack.pop()
        else:
            stack.append(move.version)
    return stack


class Registry:
    """Releases and aliases under `home`. Safe to use from several processes at once."""

    def __init__(self, home: Path, database: Database | None = None) -> None:
        """Adapters and evidence lie under `home`; the tables in `database` (default: the SQLite file of `home`)."""
        self._home = home
        self._database = database or Database(Settings(home=home).sqlite_url)

    def register(
        self, release: Release, adapter: Path, evidence: Mapping[str, Value | str] | None = None
    ) -> tuple[Release, bool]:
        """Keep `release` under the next version of its name, with copies of the `adapter` folder and the `evidence`.

        `evidence` maps file names to values or texts, for example {"report.json": report}. The same content registered
        again is the same version: the second result is False then.

        Raises ModelError when the adapter folder is missing or is not the one the release names.
        """
        self._keep_files(release, adapter, evidence or {})
        with self._database.transaction() as session:
            stored, added = store.add_release(session, release)
        return self._placed(stored), added

    def list(self) -> tuple[Release, ...]:
        """Every release, by name and version."""
        with self._database.transaction() as session:
            return tuple(self._placed(release) for release in store.all_releases(session))

    def named(self, name: str) -> tuple[Release, ...]:
        """The releases of this name, by version."""
        with self._database.transaction() as session:
            return tuple(self._placed(release) for release in store.releases_named(session, name))

    def get(self, reference: str) -> Release:
        """The release that `reference` means (see the module). Raises NotFound with the nearest match."""
        everything = self.list()
        names = {release.name for release in everything}
        match = _REFERENCE.fullmatch(reference)
        if match and match["name"] in names:
            name, aliases = match["name"], self.aliases(match["name"])
            versions = {release.version: release for release in everything if release.name == name}
            if match["version"]:
                wanted: int | None = int(match["version"])
            elif match["alias"]:
                wanted = aliases.get(match["alias"])
            else:
                wanted = aliases.get(DEFAULT_ALIAS, max(versions))
            if wanted in versions:
                return versions[wanted]
            known = [*(f"{name}@v{version}" for version in versions), *(f"{name}:{alias}" for alias in aliases)]
            raise _not_found(reference, known)
        if _ID_PREFIX.fullmatch(reference):
            found = [release for release in everything if release.identity().startswith(reference)]
            if len(found) == 1:
                return found[0]
            if found:
                listed = ", ".join(f"{release.identity()[:16]} ({release.reference})" for release in found)
                raise NotFound(f"{reference!r} is the beginning of several releases.", hint=f"They are: {listed}")
        raise _not_found(reference, sorted(names))

    def by_id(self, identity: str) -> Release | None:
        """The release with this whole id, or None."""
        with self._database.transaction() as session:
            found = store.release_by_id(session, identity)
        return self._placed(found) if found is not None else None

    def aliases(self, name: str) -> dict[str, int]:
        """Alias -> version for all aliases of `name`."""
        with self._database.transaction() as session:
            moves = store.moves_of(session, name)
        return {alias: positions(_only(moves, alias))[-1] for alias in sorted({move.alias for move in moves})}

    def history(self, name: str, alias: str) -> tuple[AliasMove, ...]:
        """Every move of one alias, oldest first."""
        with self._database.transaction() as session:
            return tuple(_only(store.moves_of(session, name), alias))

    def move_alias(self, name: str, alias: str, version: int) -> bool:
        """Point `alias` of `name` to `version`; False when it points there already. Raises NotFound."""
        target = self.get(f"{name}@v{version}")
        with self._database.transaction() as session:
            store.lock_name(session, name)
            stack = positions(_only(store.moves_of(session, name), alias))
            if stack and stack[-1] == target.version:
                return False
            store.add_move(session, AliasMove(name=name, alias=alias, version=version, kind="move", moved=now()))
        return True

    def rollback(self, name: str, alias: str) -> Release:
        """Point `alias` to the version it pointed to before, and give that release. Can be repeated.

        Raises NotFound when there is no such alias or nothing before.
        """
        with self._database.transaction() as session:
            store.lock_name(session, name)
            moves = store.moves_of(session, name)
            stack = positions(_only(moves, alias))
            if not stack:
                raise _not_found(f"{name}:{alias}", sorted({f"{name}:{move.alias}" for move in moves}))
            if len(stack) == 1:
                raise NotFound(
                    f"{name}:{alias} has pointed only to v{stack[0]}; there is nothing to roll back to.",
                    hint=f"Move it to another version: tunesmith models {name}@vN --alias {alias}",
                )
            back = AliasMove(name=name, alias=alias, version=stack[-2], kind="rollback", moved=now())
            store.add_move(session, back)
        return self.get(f"{name}@v{stack[-2]}")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _folder(self, release: Release) -> Path:
        return self._home / "releases" / release.identity()

    def _placed(self, release: Release) -> Release:
        return release.model_copy(update={"adapter_path": str(self._folder(release) / "adapter")})

    def _keep_files(self, release: Release, adapter: Path, evidence: Mapping[str, Value | str]) -> None:
        """Copy into a temporary folder, check, then rename: the release folder is complete or absent."""
        from tunesmith.models.adapter import adapter_digest  # imports torch, which listing releases must not

        target = self._folder(release)
        if target.is_dir():
            return
        if adapter_digest(adapter) != release.adapter_digest:
            raise ModelError(f"The adapter in {adapter} is not the one that was evaluated: its digest differs.")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
        draft.chmod(0o755)
        try:
            shutil.copytree(adapter, draft / "adapter")
            for file, value in {**evidence, "release.json": release}.items():
                text = value if isinstance(value, str) else value.model_dump_json(indent=2) + "\n"
                (draft / file).write_text(text, encoding="utf-8")
            try:
                os.rename(draft, target)
            except OSError:
                if not target.is_dir():  # else another process was first; its copy is as good
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def open_registry(settings: Settings) -> Registry:
    """The registry of the home and the database that `settings` name."""
    return Registry(settings.home, Database(settings.database))


def now() -> str:
    """The present time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _only(moves: Sequence[AliasMove], alias: str) -> list[AliasMove]:
    return [move for move in moves if move.alias == alias]


def _not_found(reference: str, known: Sequence[str]) -> TunesmithError:
    close = nearest(reference, known)
    hints = [f"Did you mean {close!r}?"] if close else []
    hints.append(f"There are: {', '.join(known)}." if known else "There are no releases yet: tunesmith run RECIPE")
    return NotFound(f"There is no release {reference!r}.", hint=" ".join(hints))
