"""Which model ids exist: `base`, and every release of that base under its versions, aliases and plain name.

    base              the base model, untuned
    disputes@v3       a release
    disputes:canary   the release an alias points to
    disputes          the release `stable` points to, else the newest
    ft:tiny:acme::f00 a model that a fine-tuning job of the project `acme` made; for that project alone

The registry is read at each request, so a new release is served without a restart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from tunesmith.errors import nearest
from tunesmith.serve.caller import LOCAL
from tunesmith.serve.failures import ApiError
from tunesmith.serve.trail import TRAIL, note_model
from tunesmith.types.base import Value
from tunesmith.types.release import Release
from tunesmith.types.tuned import JOB_PREFIX, TUNED_PREFIX, TunedModel

__all__ = ["BASE_ID", "BaseIdentity", "Catalogue", "Releases", "Served", "Tuned"]

BASE_ID = "base"
_DEFAULT_ALIAS = "stable"


class Releases(Protocol):
    """The part of `tunesmith.release.registry.Registry` that serving needs."""

    def list(self) -> tuple[Release, ...]:
        """Every release, by name and version."""

    def named(self, name: str, /) -> tuple[Release, ...]:
        """The releases of this name, by version."""

    def aliases(self, name: str, /) -> dict[str, int]:
        """Alias -> version for all aliases of `name`."""

    def by_id(self, identity: str, /) -> Release | None:
        """The release with this id, or None."""


class Tuned(Protocol):
    """The part of `tunesmith.store.tuned.TunedModels` that serving needs."""

    def list(self, project: str, /) -> tuple[TunedModel, ...]:
        """The models that jobs of `project` made."""

    def find(self, project: str, name: str, /) -> TunedModel | None:
        """The one with this name, or None."""


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

    def __init__(self, releases: Releases, base: BaseIdentity, tuned: Tuned | None = None) -> None:
        self._releases = releases
        self._base = base
        self._tuned = tuned

    @property
    def base(self) -> BaseIdentity:
        """The base that runs."""
        return self._base

    def list(self, project: str | None = None) -> tuple[Served, ...]:
        """Every id that `project` (None: the caller's) can ask for, the base first, what its jobs made last."""
        made = self._tuned.list(project or _present_project()) if self._tuned else ()
        return (*self._open(), *(served for model in made if (served := self._made(model)) is not None))

    def _open(self) -> tuple[Served, ...]:
        """The base and the releases that everybody may ask for."""
        fitting = [release for release in self._everybodys() if self._misfit(release) is None]
        served = [self._base_served()]
        for name in sorted({release.name for release in fitting}):
            served += self._ids([release for release in fitting if release.name == name])
        return tuple(served)

    def _base_served(self) -> Served:
        return Served(BASE_ID, None, self._base.created)

    def _ids(self, releases: Sequence[Release]) -> tuple[Served, ...]:
        """All ids of the releases of one name."""
        versions = {release.version: release for release in releases}
        name = releases[0].name
        aliases = {alias: at for alias, at in self._releases.aliases(name).items() if at in versions}
        return (
            *(_served(release.reference, release) for release in versions.values()),
            *(_served(f"{name}:{alias}", versions[at]) for alias, at in sorted(aliases.items())),
            _served(name, versions[aliases.get(_DEFAULT_ALIAS, max(versions))]),
        )

    def find(self, model: str, project: str | None = None) -> Served:
        """What `model` means to `project` (None: the caller's).

        Raises ApiError 404 `model_not_found` that says what there is.
        """
        project = project or _present_project()
        found = self._found(model, project)
        if found is not None:
            note_model(model)
            return found
        known = [served.id for served in self.list(project)]
        elsewhere = [release for release in self._everybodys() if model in (release.reference, release.name)]
        if elsewhere:
            reason = f"The model '{model}' exists but is not served here: {self._misfit(elsewhere[-1])}."
        else:
            close = nearest(model, known)
            hint = f" Did you mean '{close}'?" if close else ""
            reason = f"The model '{model}' does not exist.{hint} There are: {', '.join(known)}."
        raise ApiError(404, reason, param="model", code="model_not_found")

    def _found(self, model: str, project: str) -> Served | None:
        """What `model` means, asking the database only for what can have this name: each request comes by here."""
        if model == BASE_ID:
            return self._base_served()
        made = self._tuned.find(project, model) if self._tuned and model.startswith(TUNED_PREFIX) else None
        if made is not None:
            return self._made(made)
        name = re.split("[@:]", model, maxsplit=1)[0]
        if name.startswith(JOB_PREFIX):
            return None
        releases = [release for release in self._releases.named(name) if self._misfit(release) is None]
        return next((served for served in self._ids(releases) if served.id == model), None) if releases else None

    def _everybodys(self) -> tuple[Release, ...]:
        return tuple(release for release in self._releases.list() if not release.name.startswith(JOB_PREFIX))

    def _made(self, model: TunedModel) -> Served | None:
        """What a job's model means; None when its release is gone or of another base."""
        release = self._releases.by_id(model.release)
        return Served(model.name, release, model.created_at) if release and self._misfit(release) is None else None

    def _misfit(self, release: Release) -> str | None:
        """Why a release cannot run on this base; None when it can."""
        if release.base_digest != self._base.digest:
            return f"it was tuned on {release.base} ({release.base_digest[:12]}), and {self._base.digest[:12]} runs"
        if release.template_digest != self._base.template_digest:
            return "it was tuned with another chat template"
        return None


def _present_project() -> str:
    """The project of the request that is being answered; outside of requests that of the machine itself."""
    trail = TRAIL.get()
    return trail.caller.project if trail is not None else LOCAL.project


def _served(model: str, release: Release) -> Served:
    return Served(model, release, int(datetime.fromisoformat(release.created).timestamp()))
