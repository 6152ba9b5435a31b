"""What the caller may name as a model and what answers: the project's own tuned models, and everybody's releases."""

from __future__ import annotations

from tunesmith.errors import NotFound
from tunesmith.serve.api.routes.protocol import RouteEntry
from tunesmith.serve.caller import Caller
from tunesmith.serve.catalogue import Catalogue, Served
from tunesmith.serve.pages import Page, page_of

__all__ = ["route", "routes"]


def routes(catalogue: Catalogue, caller: Caller, part: tuple[int, str | None], release: str | None) -> Page[RouteEntry]:
    """The page `part` (limit, after) of all routes, or of those that lead to `release`, an id or a reference.

    Raises NotFound when nothing that the caller may ask for leads there.
    """
    entries = [_entry(catalogue, served) for served in catalogue.list(caller.project)]
    if release is not None:
        entries = [entry for entry in entries if release in (entry.release, entry.reference)]
        if not entries:
            raise NotFound(f"No route leads to the release {release!r}.", hint="GET /v1/tunesmith/routes lists them.")
    limit, after = part
    return page_of(entries, limit, after, lambda entry: entry.id)


def route(catalogue: Catalogue, caller: Caller, model: str) -> RouteEntry:
    """What `model` leads to. Raises ApiError 404 `model_not_found`."""
    return _entry(catalogue, catalogue.find(model, caller.project))


def _entry(catalogue: Catalogue, served: Served) -> RouteEntry:
    release = served.release
    return RouteEntry(
        id=served.id,
        base=catalogue.base.name,
        base_digest=catalogue.base.digest,
        release=release.identity() if release else None,
        reference=release.reference if release else None,
        adapter_digest=release.adapter_digest if release else None,
        created=served.created,
    )
