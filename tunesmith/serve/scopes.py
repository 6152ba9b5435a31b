"""Which part of the interface a path belongs to; a key with scopes opens only those parts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tunesmith.types.key import Scope

__all__ = ["generates", "scope_of"]

_SCOPES: Mapping[str, Scope] = MappingProxyType(
    {
        "batches": "batches",
        "chat": "inference",
        "completions": "inference",
        "embeddings": "inference",
        "evals": "evals",
        "files": "files",
        "fine-tuning": "fine_tuning",
        "fine_tuning": "fine_tuning",
        "models": "models",
        "moderations": "inference",
        "responses": "inference",
        "tunesmith": "tunesmith",
        "uploads": "files",
        "webhook_endpoints": "webhooks",
        "webhook_event_types": "webhooks",
    }
)

_GENERATING = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/moderations", "/v1/responses"}
)


def generates(method: str, path: str) -> bool:
    """Whether a model computes the answer, which takes room and tokens; to change or count what is there does not."""
    return method == "POST" and path in _GENERATING


def scope_of(path: str) -> Scope | None:
    """The scope that `/v1/<part>/…` needs; None: only a key without scopes opens it."""
    parts = path.split("/")
    return _SCOPES.get(parts[2]) if len(parts) > 2 and parts[1] == "v1" else None
