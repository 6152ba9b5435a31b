"""What the endpoints below /v1/tunesmith/routes answer."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = ["RouteEntry"]


class RouteEntry(Value):
    """A model id that requests may name, and what answers to it now.

    `release` is the release's id, `reference` its name and version; both are null where the base itself answers, and so
    is `adapter_digest`. `created` is in Unix seconds.
    """

    id: str
    object: Literal["tunesmith.route"] = "tunesmith.route"
    base: str
    base_digest: str
    release: str | None
    reference: str | None
    adapter_digest: str | None
    created: int
