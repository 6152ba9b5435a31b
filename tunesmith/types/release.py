"""A release: an immutable tuned model, identified by what it is made of."""

from __future__ import annotations

from tunesmith.types.base import Value

__all__ = ["Release"]


class Release(Value):
    """Everything needed to serve a tuned model exactly as it was evaluated.

    The release's id is `content_digest()`; names such as `disputes@v3` and aliases (`stable`) point to it.
    `system_prompt` is the one the rows were trained with; the server uses it when a request brings none.
    """

    name: str
    version: int
    base: str
    base_digest: str
    adapter_digest: str
    adapter_path: str
    template_digest: str
    dataset_digest: str
    report_digest: str
    decision_digest: str
    outcome: str
    run: str
    system_prompt: str | None = None
    max_new_tokens: int = 256
    created: str
