"""What an evaluation found: predictions, scores with their uncertainty, paired comparisons."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from pydantic import JsonValue

from tunesmith.types.base import Value

__all__ = [
    "Better",
    "ClassScore",
    "Comparison",
    "Confusion",
    "Contestant",
    "EvaluationReport",
    "Gauge",
    "JudgeAgreement",
    "Prediction",
    "Scale",
    "Score",
    "WinRate",
]

Better = Literal["higher", "lower"]
Scale = Literal["proportion", "share", "number"]


class Gauge(NamedTuple):
    """What is known of a metric before anything is measured: which way it improves, its scale, and the ends between
    which its values lie (both possible).
    """

    better: Better
    scale: Scale = "share"
    low: float = 0.0
    high: float = math.inf


class Prediction(Value):
    """One answer of one contestant.

    `label` is the answer read as one of the known labels, None when it is none of them. `calls` are the tools that the
    answer called, each `{"name": ..., "arguments": JSON text}`. `samples` are all answers where an item was asked
    several times (`answer` is the first). `option_logprobs` are the log-probabilities of an item's options and
    `option_tokens` their numbers of tokens; `token_logprobs` are those of the answer's own tokens, where the server
    gives them (empty: it does not). `expect`, `options`, `tags` and `group` are the item's (see
    `tunesmith.types.suite.Item`). `grades` are the scores that a metric needed more than the row to give (a judging
    model, a sandbox), by `tunesmith.evaluate.metric.grade_key`; None is unscored. `error` says why there is no answer;
    such a row is unscored.
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
    prompt_tokens: int = 0
    calls: tuple[dict[str, JsonValue], ...] = ()
    samples: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    option_logprobs: tuple[float, ...] = ()
    option_tokens: tuple[int, ...] = ()
    token_logprobs: tuple[float, ...] = ()
    expect: dict[str, JsonValue] = {}
    tags: dict[str, str] = {}
    group: str = ""
    grades: dict[str, float | None] = {}
    error: str = ""


class Score(Value):
    """A metric's value over `n` scored rows with its standard error; `unscored` rows are counted, never guessed.

    `metric` is the plugin's name and `options` its options: enough to compare two stored evaluations later.

    `scale` is proportion (mean of 0s and 1s), share (between 0 and 1) or number. [low, high] is the interval at
    `confidence`, made by the method named in `interval` (None when nothing was scored). `clusters` is the number of
    independent groups where rows share one (None: every row stands alone).
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
    options: dict[str, Any] = {}
    clusters: int | None = None


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

    @property
    def timed(self) -> bool:
        """Whether tokens and seconds were measured; a scan by another tool says neither."""
        return any(row.seconds for row in self.predictions) or self.latency_median_seconds > 0.0


class Comparison(Value):
    """`model` minus `baseline` on the same rows, with a paired interval and test.

    `p_adjusted` is Holm's p over all metrics in which these two were compared (None: not adjusted): twenty metrics of
    two equal models would otherwise give one that looks different. The difference is settled when that p and the
    interval agree that there is one; `rows_for_decision` is about how many more rows would settle one of this size
    (None: settled). `detectable` is the true difference that a comparison on these rows finds with 80% power, in this
    metric alone (None: not even the largest, or no row tells the two apart). `clusters` is the number of independent
    groups where rows share one.

    `relative` is the difference as a share of the baseline's value on these rows (-0.1: a tenth less) with its own
    paired interval, in which the baseline's value varies too; None for shares, and where the baseline's value is 0.
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
    p_adjusted: float | None = None
    detectable: float | None = None
    clusters: int | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None

    @property
    def settled(self) -> bool:
        """Whether there is a difference beyond chance, in this family of metrics."""
        return self.rows_for_decision is None


class WinRate(Value):
    """How often a judging model preferred `model`'s answers to `baseline`'s, each pair judged in both orders.

    A win or a loss is a verdict that both orders gave; a pair with two different verdicts is a tie, as is one with two
    equal answers. `value` is (wins + ties / 2) / n, `agreement` the share of the n pairs with twice the same verdict.
    Pairs without two readable verdicts are `unscored`.
    """

    model: str
    baseline: str
    judge: str
    value: float | None = None
    n: int = 0
    wins: int = 0
    ties: int = 0
    losses: int = 0
    agreement: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    unscored: int = 0


class JudgeAgreement(Value):
    """How far a judging model's points agree with those that people gave the same `n` answers.

    `metric` is what the judge's score is called, `judge` the model. `equal` is the share of answers with the very same
    points, `kappa` Cohen's kappa of them with its `standard_error`; `alpha` is Krippendorff's alpha for numbers, which
    counts a near miss less than a wide one. None where they say nothing. Answers that the judge could not give points
    are `unscored`.
    """

    metric: str
    judge: str
    n: int
    unscored: int = 0
    equal: float | None = None
    kappa: float | None = None
    standard_error: float | None = None
    alpha: float | None = None


class EvaluationReport(Value):
    """The whole evaluation of one run on one split.

    `questions` holds the last user message of each row by example id. Latencies of the predictions were measured with
    `concurrency` requests in flight: what a request to a server under that load sees. `max_new_tokens` is the room each
    answer had; a release gives its answers the same. `suites` are the reports of the suites that the same contestants
    answered, by the suite's name; in such a report, `dataset_digest` is the suite's and `split` its name.
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
    suites: dict[str, EvaluationReport] = {}
    wins: tuple[WinRate, ...] = ()
    agreements: tuple[JudgeAgreement, ...] = ()

    def contestant(self, name: str) -> Contestant:
        """The contestant called `name`; KeyError when it did not take part."""
        for contestant in self.contestants:
            if contestant.name == name:
                return contestant
        raise KeyError(name)
