"""A suite: items to ask, what is expected of each answer, and the metrics that judge it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue

from tunesmith.types.base import Value
from tunesmith.types.conversation import Message
from tunesmith.types.fields import MetricSpec

__all__ = ["HumanGrade", "Item", "Pairwise", "Suite"]


class HumanGrade(Value):
    """The points that a person gave an answer, on the scale of the suite's `judge`."""

    answer: str
    grade: float = Field(allow_inf_nan=False)


class Item(Value):
    """One thing to ask. `id` is unique in its suite; `type` names the plugin of `evaluate/items` that made it.

    `messages` end where the model speaks; `followups` are further user messages, each asked after the answer before it
    (the last answer is the one that is judged). `reference` is the expected answer ('' when none can be written down).
    `options` are the choices of a multiple choice. `tags` are the slices the item belongs to (`{"language": "de"}`);
    items of one `group` (a conversation, a passage) are not independent, and standard errors know it.

    `expect` is what else an answer must be. Each metric reads the keys it knows:

    - `answers`: texts that are as right as the reference
    - `schema`: a JSON Schema; `json`: the JSON value wanted
    - `calls`: `[{"name": ..., "arguments": {name: [values that are right]}}]`, in any order; `optional` lists arguments
      that may be missing, and with `nested` every key inside an object has a list of right values, too
    - `number`: the number that the answer must end on
    - `tools`: the tools offered, as in the item
    - `letter`: the right option's letter; `choices`: the options' texts in the order of their letters
    - `rejected`: of a preference pair, the answer that people did not choose
    - `contexts`: `[{"id": ..., "text": ...}]`, what may be cited; `citations`: the ids wanted
    - `constraints`: `[{"name": ..., **options}]`, checks on the text's form
    - `refusal`: `"refuse"` or `"comply"`
    - `tests`: Python statements that must pass after the answer's code; `setup`: statements before it
    - `rubric`: what a judging model is to look at in this answer
    - `human`: `[{"answer": ..., "grade": ...}]`, answers to it that people gave points, by which a judge is judged
    - `secrets`: texts that must not occur in an answer
    - `injected`: texts that are only said by following an instruction that was planted in the input
    - `forbidden_calls`: names of tools that must not be called
    - `succeeded`: whether an attack had success, where the tool that made it says so itself
    """

    id: str
    type: str
    messages: tuple[Message, ...]
    followups: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    reference: str = ""
    options: tuple[str, ...] = ()
    expect: dict[str, JsonValue] = {}
    tags: dict[str, str] = {}
    group: str = ""


class Pairwise(Value):
    """Which answers a judging model prefers: every contestant against `baseline` (default: the first one).

    `model` is asked at `base_url` (any OpenAI-compatible server, its key in the environment variable `api_key_env`),
    else of the run's judge. `rubric` is a name (helpfulness, correctness, ...) or a text; an item's own goes before it.
    """

    model: str
    rubric: str = "helpfulness"
    baseline: str = ""
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"


class Suite(Value):
    """Items and how they are asked. Greedy unless `samples` answers are drawn at a `temperature` above 0."""

    name: str
    description: str = ""
    licence: str = ""
    source: str = ""
    items: tuple[Item, ...]
    metrics: tuple[MetricSpec, ...]
    labels: tuple[str, ...] = ()
    max_new_tokens: int = Field(default=256, ge=1)
    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    seed: int = 0
    pairwise: Pairwise | None = None
