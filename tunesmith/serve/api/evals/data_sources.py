"""Where the rows of a run come from, and who answers them: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from tunesmith.serve.api.responses.protocol import FlatTool, TextConfig
from tunesmith.serve.graders import ModelInput
from tunesmith.serve.metadata import Metadata
from tunesmith.types.base import Value

__all__ = [
    "MOST_KEPT",
    "AskingSource",
    "CompletionsSource",
    "DataSource",
    "FileContent",
    "FileId",
    "GivenSample",
    "ItemReference",
    "JsonlSource",
    "KeptChats",
    "KeptResponses",
    "ResponsesSampling",
    "ResponsesSource",
    "SamplingParams",
    "SourceRow",
    "Template",
    "one_of",
]

MOST_KEPT = 10_000
"""Stored answers that one run takes."""

_FILES = "file_content or file_id"

Time = Annotated[int, Field(ge=0, le=2**53)]
"""Unix seconds."""


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


class _Kept(Value):
    """Filters of stored answers, of which the newest `limit` are taken; times are included."""

    model: str | None = None
    metadata: Metadata | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    limit: int | None = Field(default=None, ge=1, le=MOST_KEPT)


class KeptChats(_Kept):
    """Stored chat completions."""

    type: Literal["stored_completions"]


class KeptResponses(_Kept):
    """Stored responses. `instructions_search` is a part of the instructions; `tools` and `users` want one of theirs."""

    type: Literal["responses"]
    instructions_search: str | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[str] | None = None
    users: list[str] | None = None

    @field_validator("reasoning_effort")
    @classmethod
    def _is_not_kept(cls, value: str | None) -> str | None:
        if value is not None:
            raise ValueError("responses here have no reasoning effort to be found by; leave it out")
        return value


def _kind(given: Any) -> str | None:
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return f"{kind}:source" if isinstance(kind, str) else None


def one_of(names: str) -> Discriminator:
    """Tells a union's members, tagged `TYPE:source`, by their `type`; `names` are what the message says it can be."""
    message = f"type must be {names} (no others are offered)"
    return Discriminator(_kind, custom_error_type="source_type", custom_error_message=message)


_Content = Annotated[FileContent, Tag("file_content:source")]
_File = Annotated[FileId, Tag("file_id:source")]
Rows = Annotated[_Content | _File, one_of(_FILES)]
RowsOrChats = Annotated[
    _Content | _File | Annotated[KeptChats, Tag("stored_completions:source")],
    one_of("file_content, file_id or stored_completions"),
]
RowsOrResponses = Annotated[
    _Content | _File | Annotated[KeptResponses, Tag("responses:source")],
    one_of("file_content, file_id or responses"),
]


class Template(Value):
    """Messages with `{{item.…}}` in them."""

    type: Literal["template"]
    template: list[ModelInput] = Field(min_length=1)


class ItemReference(Value):
    """Messages that the row itself has, such as `item.input`."""

    type: Literal["item_reference"]
    item_reference: str = Field(pattern=r"^item(\.[^\s.\[\]{}]+|\[\d+\])+$")


Messages = Annotated[
    Annotated[Template, Tag("template:source")] | Annotated[ItemReference, Tag("item_reference:source")],
    one_of("template or item_reference"),
]


class _Sampling(Value):
    """How the tested model answers; what is not given is left to the model's own way."""

    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    seed: int | None = None
    reasoning_effort: str | None = None


class SamplingParams(_Sampling):
    """How a chat completion is asked for."""

    response_format: dict[str, JsonValue] | None = None
    tools: list[dict[str, JsonValue]] | None = None


class ResponsesSampling(_Sampling):
    """How a response is asked for."""

    text: TextConfig | None = None
    tools: list[FlatTool] | None = Field(default=None, max_length=128)


class JsonlSource(Value):
    """Rows with their answers."""

    type: Literal["jsonl"]
    source: Rows


class AskingSource(Value):
    """Rows that `model` answers; without a model the answers that they have are graded."""

    model: str | None = None
    input_messages: Messages | None = None
    sampling_params: SamplingParams | ResponsesSampling | None = None

    @model_validator(mode="after")
    def _asks_or_does_not(self) -> AskingSource:
        if (self.model is None) != (self.input_messages is None):
            raise ValueError(
                "model and input_messages belong together: give both to ask the model (stored answers have their "
                'messages in {"type": "item_reference", "item_reference": "item.input"}), or neither to grade the '
                "answers that the rows have"
            )
        if self.model is None and self.sampling_params is not None:
            raise ValueError("sampling_params are how a model is asked, and no model is given; leave them out")
        return self


class CompletionsSource(AskingSource):
    """Rows that are answered, or were, by a chat completion."""

    type: Literal["completions"]
    source: RowsOrChats
    sampling_params: SamplingParams | None = None


class ResponsesSource(AskingSource):
    """Rows that are answered, or were, by a response."""

    type: Literal["responses"]
    source: RowsOrResponses
    sampling_params: ResponsesSampling | None = None


DataSource = Annotated[
    Annotated[JsonlSource, Tag("jsonl:source")]
    | Annotated[CompletionsSource, Tag("completions:source")]
    | Annotated[ResponsesSource, Tag("responses:source")],
    one_of("jsonl, completions or responses"),
]
"""The data source of a run."""
