"""What /v1/evals takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, Tag

from tunesmith.serve.api.evals.criteria import Criterion
from tunesmith.serve.api.evals.data_sources import DataSource, one_of
from tunesmith.serve.body import Body
from tunesmith.serve.metadata import Metadata
from tunesmith.store.windows import Window
from tunesmith.types.base import Value
from tunesmith.types.evals import ItemStatus, ModelUsage, RunError, RunStatus

__all__ = [
    "CriterionCounts",
    "CustomConfig",
    "EvalCreate",
    "EvalDeleted",
    "EvalObject",
    "EvalUpdate",
    "EvalsQuery",
    "ItemObject",
    "ItemsQuery",
    "KeptConfig",
    "ResultCounts",
    "RunCreate",
    "RunDeleted",
    "RunObject",
    "RunsQuery",
    "UsageOfModel",
]

Name = Annotated[str, Field(min_length=1, max_length=256)]


class _ListQuery(Value):
    """Which part of a list, oldest first unless `order` is desc."""

    after: str | None = None
    limit: int = Field(default=20, ge=1, le=100)
    order: Literal["asc", "desc"] = "asc"

    @property
    def window(self) -> Window:
        """As the store takes it."""
        return Window(self.limit, self.after, self.order == "desc")


class EvalsQuery(_ListQuery):
    """Which evals, by the time of their making or of their last change."""

    order_by: Literal["created_at", "updated_at"] = "created_at"


class RunsQuery(_ListQuery):
    """Which runs of an eval."""

    status: RunStatus | None = None


class ItemsQuery(_ListQuery):
    """Which output items of a run."""

    status: ItemStatus | None = None


class CustomConfig(Value):
    """Rows of one's own: `item_schema` (JSON Schema) says what `{{item.…}}` has."""

    type: Literal["custom"]
    item_schema: dict[str, JsonValue]
    include_sample_schema: bool | None = None


class KeptConfig(Value):
    """What was asked and answered here, and kept: stored chat completions and responses that have this metadata.

    `stored_completions` is the older name of `logs`.
    """

    type: Literal["logs", "stored_completions"]
    metadata: Metadata | None = None


Config = Annotated[
    Annotated[CustomConfig, Tag("custom:source")]
    | Annotated[KeptConfig, Tag("logs:source")]
    | Annotated[KeptConfig, Tag("stored_completions:source")],
    one_of("custom, logs or stored_completions"),
]


class EvalCreate(Body):
    """A new eval."""

    data_source_config: Config
    testing_criteria: list[Criterion] = Field(min_length=1, max_length=64)
    name: Name | None = None
    metadata: Metadata | None = None


class EvalUpdate(Body):
    """What can be changed of an eval."""

    name: Name | None = None
    metadata: Metadata | None = None


class EvalObject(Value):
    """An eval. Each criterion has an `id`, which results are named after."""

    id: str
    object: Literal["eval"] = "eval"
    created_at: int
    name: str
    metadata: dict[str, str] | None
    data_source_config: dict[str, Any]
    testing_criteria: tuple[dict[str, Any], ...]


class EvalDeleted(Value):
    """The eval is gone."""

    object: Literal["eval.deleted"] = "eval.deleted"
    deleted: Literal[True] = True
    eval_id: str


class RunCreate(Body):
    """A new run of an eval."""

    data_source: DataSource
    name: Name | None = None
    metadata: Metadata | None = None


class ResultCounts(Value):
    """Rows by what became of them; an errored row is neither passed nor failed."""

    total: int
    passed: int
    failed: int
    errored: int


class CriterionCounts(Value):
    """Rows by what one criterion said."""

    testing_criteria: str
    passed: int
    failed: int
    errored: int


class UsageOfModel(ModelUsage):
    """What the tested model was asked for."""

    model_name: str


class RunObject(Value):
    """A run of an eval."""

    id: str
    object: Literal["eval.run"] = "eval.run"
    eval_id: str
    created_at: int
    name: str
    metadata: dict[str, str] | None
    model: str
    status: RunStatus
    data_source: dict[str, Any]
    report_url: str
    result_counts: ResultCounts
    per_testing_criteria_results: tuple[CriterionCounts, ...]
    per_model_usage: tuple[UsageOfModel, ...]
    error: RunError | None


class RunDeleted(Value):
    """The run is gone."""

    object: Literal["eval.run.deleted"] = "eval.run.deleted"
    deleted: Literal[True] = True
    run_id: str


class ItemObject(Value):
    """A tested row. `status` is `pass`, `fail`, or `error` when a criterion could not be applied."""

    id: str
    object: Literal["eval.run.output_item"] = "eval.run.output_item"
    eval_id: str
    run_id: str
    created_at: int
    status: Literal["pass", "fail", "error"]
    datasource_item: dict[str, Any]
    datasource_item_id: int
    results: tuple[dict[str, Any], ...]
    sample: dict[str, Any]
