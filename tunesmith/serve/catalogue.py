"""Which model ids exist: `base`, and every release of that base under its versions, aliases and plain name.

    base              the base model, untuned
    disputes@v3       a release
    disputes:canary   the release an alias points to
    disputes          the release `stable` points to, else the newest

The registry is read at each request, so a new release is served without a restart.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol

from tunesmith.errors import nearest
from tunesmith.serve.failures import ApiError
from tunesmith.types.base import Value
from tunesmith.types.release import Release

__all__ = ["BASE_ID", "BaseIdentity", "Catalogue", "Releases", "Served"]

BASE_ID = "base"
_DEFAULT_ALIAS = "stable"


class Releases(Protocol):
    """The part of `tunesmith.release.registry.Registry` that serving needs."""

    def list(self) -> tuple[Release, ...]:
        """Every release, by name and version."""

    def aliases(self, name: str, /) -> dict[str, int]:
        """Alias -> version for all aliases of `name`."""


class BaseIdentity(Value):
    """The base model that runs: its name, the digests of weights and template, when it was made (Unix seconds)."""

    name: str
    digest: str
    template_digest: str
    created: int


class Served(NamedTuple):
    """A model id and what it means; no release is the base model. `created` is in Unix seconds."""

    id: str
    release: Release | None
    created: int


class Catalogue:
    """Model ids of one running base."""

    def __init__(self, releases: Releases, base: BaseIdentity) -> None:
        self._releases = releases
        self._base = base

    def list(self) -> tuple[Served, ...]:
        """Every id that can be asked for, the base first."""
        fitting = [release for release in self._releases.list() if self._misfit(release) is None]
        served = [Served(BASE_ID, None, self._base.created)]
        for name in sorted({release.name for release in fitting}):
            versions = {release.version: release for release in fitting if release.name == name}
            served += [_served(release.reference, release) for release in versions.values()]
            aliases = {alias: at for alias, at in self._releases.aliases(name).items() if at in versions}
            served += [_served(f"{name}:{alias}", versions[at]) for alias, at in sorted(aliases.items())]
            served.append(_served(name, versions[aliases.get(_DEFAULT_ALIAS, max(versions))]))
        return tuple(served)

    def find(self, model: str) -> Served:
        """What `model` means. Raises ApiError 404 `model_not_found` that says what there is."""
        known = {served.id: served for served in self.list()}
        if model in known:
            return known[model]
        elsewhere = [release for release in self._releases.list() if model in (release.reference, release.name)]
        if elsewhere:
            reason = f"The model '{model}' exists but is not served here: {self._misfit(elsewhere[-1])}."
        else:
            close = nearest(model, known)
            hint = f" Did you mean '{close}'?" if close else ""
            reason = f"The model '{model}' does not exist.{hint} There are: {', '.join(known)}."
        raise ApiError(404, reason, param="model", code="model_not_found")

    def _misfit(self, release: Release) -> str | None:
        """Why a release cannot run on this base; None when it can."""
        if release.base_digest != self._base.digest:
            return f"it was tuned on {release.base} ({release.base_digest[:12]}), and {self._base.digest[:12]} runs"
        if release.template_digest != self._base.template_digest:
            return "it was tuned with another chat template"
        return None


def _served(model: str, release: Release) -> Served:
    return Served(model, release, int(datetime.fromisoformat(release.created).timestamp()))
