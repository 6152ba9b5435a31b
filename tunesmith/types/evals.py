"""Evals as they are stored: what to test, one run over a data source, one tested row of it."""

from __future__ import annotations

from typing import Any, Literal

from tunesmith.types.base import Value

__all__ = ["Counts", "Eval", "EvalItem", "EvalRun", "ItemStatus", "ModelUsage", "RunError", "RunStatus"]

RunStatus = Literal["queued", "in_progress", "completed", "canceled", "failed"]
ItemStatus = Literal["pass", "fail", "error"]


class Eval(Value):
    """What to test: the schema of the rows and the criteria, each a grader with an `id` and perhaps a threshold.

    Times are Unix seconds.
    """

    id: str
    project: str
    created_at: int
    updated_at: int
    name: str
    metadata: dict[str, str] | None
    data_source_config: dict[str, Any]
    testing_criteria: tuple[dict[str, Any], ...]


class Counts(Value):
    """Rows by what became of them. `total` counts the whole data source from the start."""

    total: int
    passed: int = 0
    failed: int = 0
    errored: int = 0

    def with_one(self, status: ItemStatus) -> Counts:
        """One more row of this status."""
        field = {"pass": "passed", "fail": "failed", "error": "errored"}[status]
        return self.model_copy(update={field: getattr(self, field) + 1})


class ModelUsage(Value):
    """What a model was asked for, in calls and tokens."""

    invocation_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0

    def plus(self, other: ModelUsage) -> ModelUsage:
        """Both together."""
        return ModelUsage(**{name: getattr(self, name) + getattr(other, name) for name in ModelUsage.model_fields})


class RunError(Value):
    """Why a run failed as a whole."""

    code: str
    message: str


class EvalRun(Value):
    """One run of an eval. `key` is the API key whose budget it uses; `criteria` counts rows by criterion."""

    id: str
    eval_id: str
    project: str
    key: str | None
    created_at: int
    name: str
    metadata: dict[str, str] | None
    model: str
    status: RunStatus = "queued"
    data_source: dict[str, Any]
    counts: Counts
    criteria: dict[str, Counts]
    usage: ModelUsage = ModelUsage()
    error: RunError | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.status not in ("queued", "in_progress")


class EvalItem(Value):
    """One row of a run's data source (the `place`-th, from 0), what the model said and how each criterion took it."""

    id: str
    run_id: str
    eval_id: str
    created_at: int
    place: int
    status: ItemStatus
    row: dict[str, Any]
    results: tuple[dict[str, Any], ...]
    sample: dict[str, Any]
    usage: ModelUsage = ModelUsage()
