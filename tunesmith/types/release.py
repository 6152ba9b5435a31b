"""A release: an immutable tuned model, identified by what it is made of."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value, digest_json

__all__ = ["AliasMove", "Release"]


class Release(Value):
    """Everything needed to serve a tuned model exactly as it was evaluated.

    The release's id is `identity()`; names such as `disputes@v3` and aliases (`stable`) point to it.
    `system_prompt` is the one the rows were trained with; the server uses it when a request brings none.
    `version` and `adapter_path` are given by the registry, which keeps its own copy of the adapter.
    """

    name: str
    version: int = 0
    base: str
    base_digest: str
    adapter_digest: str
    adapter_path: str = ""
    template_digest: str
    dataset_digest: str
    report_digest: str
    decision_digest: str
    outcome: str
    run: str
    system_prompt: str | None = None
    max_new_tokens: int = 256
    created: str

    def identity(self) -> str:
        """SHA-256 of the content: all fields but those that say when, where and as which version it was registered."""
        return digest_json(self.model_dump(mode="json", exclude={"version", "adapter_path", "created"}))

    @property
    def reference(self) -> str:
        """Name and version, for example `disputes@v3`."""
        return f"{self.name}@v{self.version}"


class AliasMove(Value):
    """One entry of an alias's history: `alias` of `name` came to point to `version`, at `moved` (ISO 8601, UTC)."""

    name: str
    alias: str
    version: int
    kind: Literal["move", "rollback"]
    moved: str
