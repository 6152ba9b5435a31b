"""What an evaluation found: predictions, scores with their uncertainty, paired comparisons."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = [
    "Better",
    "ClassScore",
    "Comparison",
    "Confusion",
    "Contestant",
    "EvaluationReport",
    "Prediction",
    "Scale",
    "Score",
]

Better = Literal["higher", "lower"]
Scale = Literal["proportion", "share", "number"]


class Prediction(Value):
    """One answer of one contestant.

    `label` is the answer read as one of the known labels, None when it is none of them.
    """

    example_id: str
    reference: str
    answer: str
    label: str | None
    tokens: int
    seconds: float
    first_token_seconds: float
    finish_reason: str
    reference_logprob: float | None = None
    reference_tokens: int = 0


class Score(Value):
    """A metric's value over `n` scored rows with its standard error; `unscored` rows are counted, never guessed.

    `scale` is proportion (mean of 0s and 1s), share (between 0 and 1) or number. [low, high] is the interval at
    `confidence`, made by the method named in `interval` (None when nothing was scored).
    """

    metric: str
    value: float | None
    n: int
    standard_error: float | None
    unscored: int = 0
    better: Better = "higher"
    scale: Scale = "share"
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    interval: str = ""


class ClassScore(Value):
    """Precision, recall and F1 of one label; `support` is the number of rows whose reference it is."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Confusion(Value):
    """`count` rows of `reference` were answered as `predicted` (None: an invalid answer)."""

    reference: str
    predicted: str | None
    count: int


class Contestant(Value):
    """One model under test and all that was measured of it."""

    name: str
    model: str
    adapter_digest: str | None
    system_prompt: bool
    scores: dict[str, Score]
    classes: tuple[ClassScore, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    tokens_per_answer: float
    latency_median_seconds: float
    predictions: tuple[Prediction, ...]


class Comparison(Value):
    """`model` minus `baseline` on the same rows, with a paired interval and test.

    `rows_for_decision` is about how many more rows would settle an inconclusive difference of this size
    (None: settled).
    """

    metric: str
    model: str
    baseline: str
    difference: float
    low: float
    high: float
    confidence: float
    p_value: float
    test: str
    n: int
    won: int
    lost: int
    rows_for_decision: int | None = None
    better: Better = "higher"
    interval: str = ""


class EvaluationReport(Value):
    """The whole evaluation of one run on one split.

    `questions` holds the last user message of each row by example id. Latencies of the predictions were measured with
    `concurrency` requests in flight: what a request to a server under that load sees. `max_new_tokens` is the room each
    answer had; a release gives its answers the same.
    """

    dataset_digest: str
    split: str
    rows: int
    labels: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    comparisons: tuple[Comparison, ...]
    questions: dict[str, str] = {}
    concurrency: int = 1
    max_new_tokens: int = 256
    confidence: float = 0.95

    def contestant(self, name: str) -> Contestant:
        """The contestant called `name`; KeyError when it did not take part."""
        for contestant in self.contestants:
            if contestant.name == name:
                return contestant
        raise KeyError(name)
