"""What /v1/evals takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from tunesmith.serve.api.evals.criteria import Criterion
from tunesmith.serve.body import Body
from tunesmith.serve.graders import ModelInput
from tunesmith.serve.metadata import Metadata
from tunesmith.store.windows import Window
from tunesmith.types.base import Value
from tunesmith.types.evals import ItemStatus, ModelUsage, RunError, RunStatus

__all__ = [
    "CompletionsSource",
    "CriterionCounts",
    "CustomConfig",
    "DataSource",
    "EvalCreate",
    "EvalDeleted",
    "EvalObject",
    "EvalUpdate",
    "EvalsQuery",
    "FileContent",
    "FileId",
    "GivenSample",
    "ItemObject",
    "ItemReference",
    "ItemsQuery",
    "JsonlSource",
    "ResultCounts",
    "RunCreate",
    "RunDeleted",
    "RunObject",
    "RunsQuery",
    "SamplingParams",
    "SourceRow",
    "Template",
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


class EvalCreate(Body):
    """A new eval."""

    data_source_config: CustomConfig
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


class GivenSample(Value, extra="allow"):
    """What was said to a row; other fields than these are kept with it and not looked at."""

    output_text: str | None = None
    output_tools: list[dict[str, JsonValue]] | None = None


class SourceRow(Value):
    """A row, and what was said to it where that is known."""

    item: dict[str, JsonValue]
    sample: GivenSample | None = None


class FileContent(Value):
    """Rows in the request itself."""

    type: Literal["file_content"]
    content: list[SourceRow] = Field(min_length=1)


class FileId(Value):
    """Rows in an uploaded file, one JSON object `{"item": …, "sample": …}` a line."""

    type: Literal["file_id"]
    id: str


def _kind(given: Any) -> str | None:
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return f"{kind}:source" if isinstance(kind, str) else None


Source = Annotated[
    Annotated[FileContent, Tag("file_content:source")] | Annotated[FileId, Tag("file_id:source")],
    Discriminator(
        _kind,
        custom_error_type="source_type",
        custom_error_message="type must be file_content or file_id (no others are offered)",
    ),
]


class Template(Value):
    """Messages with `{{item.…}}` in them."""

    type: Literal["template"]
    template: list[ModelInput] = Field(min_length=1)


class ItemReference(Value):
    """Messages that the row itself has, such as `item.input_trajectory`."""

    type: Literal["item_reference"]
    item_reference: str = Field(pattern=r"^item(\.[^\s.\[\]{}]+|\[\d+\])+$")


class SamplingParams(Value):
    """How the tested model answers; what is not given is left to the model's own way."""

    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    seed: int | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, JsonValue] | None = None
    tools: list[dict[str, JsonValue]] | None = None


class JsonlSource(Value):
    """Rows with their answers."""

    type: Literal["jsonl"]
    source: Source


class CompletionsSource(Value):
    """Rows that a model answers."""

    type: Literal["completions"]
    source: Source
    model: str
    input_messages: Annotated[Template | ItemReference, Field(discriminator="type")]
    sampling_params: SamplingParams | None = None


DataSource = Annotated[
    Annotated[JsonlSource, Tag("jsonl:source")] | Annotated[CompletionsSource, Tag("completions:source")],
    Discriminator(
        _kind,
        custom_error_type="source_type",
        custom_error_message="type must be jsonl or completions (no others are offered)",
    ),
]


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
