"""Graders as OpenAI writes them, for the graders, fine-tuning and evals endpoints, and what they are called here.

Only what the API has: a judging model is one of this server's, never an address or an environment variable that a
request names, and no path of this machine.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, field_validator

from tunesmith.errors import TunesmithError
from tunesmith.grade.grader import Grader, load_grader
from tunesmith.serve.catalogue import BASE_ID
from tunesmith.serve.failures import invalid
from tunesmith.types.base import Value

__all__ = [
    "AnyGrader",
    "InputText",
    "LabelModelGrader",
    "ModelInput",
    "ModelSampling",
    "MultiGrader",
    "PartGrader",
    "PythonGrader",
    "ScoreModelGrader",
    "StringCheckGrader",
    "TextSimilarityGrader",
    "as_grader",
]


class InputText(Value):
    """A piece of text. Images and audio are not offered: the models here read text."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class ModelInput(Value):
    """One message to a judging model; `{{item.…}}` and `{{sample.…}}` are filled in."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | InputText | list[str | InputText]
    type: Literal["message"] | None = None

    def spec(self) -> dict[str, Any]:
        """As our graders take it."""
        parts = self.content if isinstance(self.content, list) else [self.content]
        texts = [{"type": "text", "text": part} if isinstance(part, str) else part.model_dump() for part in parts]
        return {"role": self.role, "content": texts}


class ModelSampling(Value):
    """How the judging model writes."""

    max_completions_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    seed: int | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


class _Named(Value):
    """A grader's name and the field that chooses its kind."""

    name: str = Field(min_length=1)

    def spec(self) -> dict[str, Any]:
        """As `tunesmith.grade` takes it; the threshold of an eval's criterion is the eval's business."""
        return self.model_dump(exclude_none=True, exclude={"pass_threshold"})


class StringCheckGrader(_Named):
    """1 when `input` and `reference` stand in the relation `operation`, else 0."""

    type: Literal["string_check"]
    input: str
    reference: str
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarityGrader(_Named):
    """How close `input` is to `reference`, between 0 and 1. `cosine` compares embeddings of the base model."""

    type: Literal["text_similarity"]
    input: str
    reference: str
    # fmt: off
    evaluation_metric: Literal[
        "cosine", "fuzzy_match", "bleu", "gleu", "meteor",
        "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
    ]
    # fmt: on

    def spec(self) -> dict[str, Any]:
        """With the model that embeds."""
        return super().spec() | ({"embedding_model": BASE_ID} if self.evaluation_metric == "cosine" else {})


class PythonGrader(_Named):
    """The number that `grade(sample, item)` of `source` returns, in a sandbox.

    `image_tag` names an image of OpenAI's; here the code always runs with this installation's Python and packages.
    """

    type: Literal["python"]
    source: str
    image_tag: str | None = None


class _Judging(_Named):
    """What graders by a model share."""

    model: str
    input: list[ModelInput] = Field(min_length=1)

    def spec(self) -> dict[str, Any]:
        """With the messages in our form."""
        return super().spec() | {"input": [message.spec() for message in self.input]}


class ScoreModelGrader(_Judging):
    """The number inside `range` that a model answers with."""

    type: Literal["score_model"]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    sampling_params: ModelSampling | None = None


class LabelModelGrader(_Judging):
    """1 when the label that a model chooses is one of `passing_labels`, else 0."""

    type: Literal["label_model"]
    labels: list[str] = Field(min_length=2)
    passing_labels: list[str] = Field(min_length=1)


def _kind(given: Any) -> str | None:
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return f"{kind}:grader" if isinstance(kind, str) else None


_PARTS = (
    Annotated[StringCheckGrader, Tag("string_check:grader")]
    | Annotated[TextSimilarityGrader, Tag("text_similarity:grader")]
    | Annotated[PythonGrader, Tag("python:grader")]
    | Annotated[ScoreModelGrader, Tag("score_model:grader")]
    | Annotated[LabelModelGrader, Tag("label_model:grader")]
)
_UNKNOWN = "type must be string_check, text_similarity, python, score_model, label_model or multi"

PartGrader = Annotated[
    _PARTS,
    Discriminator(_kind, custom_error_type="grader_type", custom_error_message=f"{_UNKNOWN} (not inside of another)"),
]
"""A grader that `multi` can be made of."""


class MultiGrader(_Named):
    """A formula over the scores of other graders: a map of names to graders, a list, or a single one."""

    type: Literal["multi"]
    graders: dict[str, PartGrader]
    calculate_output: str

    @field_validator("graders", mode="before")
    @classmethod
    def _by_name(cls, given: JsonValue) -> JsonValue:
        listed = [given] if isinstance(given, dict) and isinstance(given.get("type"), str) else given
        if not isinstance(listed, list):
            return listed
        names = [part.get("name") if isinstance(part, dict) else None for part in listed]
        if len({name for name in names if isinstance(name, str)}) < len(listed):
            raise ValueError("every grader of a list needs a name of its own")
        return {str(name): part for name, part in zip(names, listed, strict=True)}

    def spec(self) -> dict[str, Any]:
        """With the parts in our form."""
        return super().spec() | {"graders": {name: part.spec() for name, part in self.graders.items()}}


AnyGrader = Annotated[
    _PARTS | Annotated[MultiGrader, Tag("multi:grader")],
    Discriminator(_kind, custom_error_type="grader_type", custom_error_message=_UNKNOWN),
]
"""A grader of a request."""


def as_grader(given: AnyGrader, param: str = "grader") -> Grader:
    """The grader that does it. Raises ApiError 400 for what cannot work: a formula, a template, Python that is none."""
    try:
        return load_grader(given.spec())
    except TunesmithError as error:
        raise invalid(" ".join(str(error).split()), param) from None
