"""What `tunesmith decide` measures and concludes, as values."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value
from tunesmith.types.dataset import SplitName
from tunesmith.types.report import Better, Comparison, Scale, Score

__all__ = [
    "Answer",
    "Arm",
    "BreakEven",
    "Choice",
    "Collect",
    "Cost",
    "Curve",
    "CurvePoint",
    "DecideReport",
    "Evidence",
    "Family",
    "Finding",
    "Forecast",
    "LeftOut",
    "Recommendation",
]

Family = Literal["base", "prompt", "few_shot", "retrieval", "tuned"]
Choice = Literal["prompt", "retrieval", "lora", "full", "not_enough_data"]
Answer = Literal["yes", "no", "unsure"]


class Arm(Value):
    """One way to get answers, measured on `rows` rows of `split`. Times are seconds: `seconds` for all rows with
    `concurrency` in flight, `latency` the median of one answer under that load.

    `note` says how it was made; `run_id` is the run of a tuned one, `chosen` whether its family is represented by it.
    """

    name: str
    family: Family
    split: SplitName
    rows: int
    score: Score
    scores: dict[str, Score]
    prompt_tokens: float
    answer_tokens: float
    seconds: float
    latency: float
    concurrency: int
    note: str = ""
    run_id: str = ""
    chosen: bool = False


class CurvePoint(Value):
    """A tune on the first `rows` training rows of nested draw `chain`, scored on the validation rows."""

    rows: int
    chain: int
    score: float
    low: float
    high: float
    seconds: float
    steps: int
    run_id: str


class Forecast(Value):
    """What the learning curve says a tune on `rows` rows would score, with the bootstrap's interval."""

    rows: int
    value: float
    low: float
    high: float


class Curve(Value):
    """score(n) = a / (1 + b n^-c) through `points`; `failure` says why there is no forecast.

    `full` is the forecast for all training rows, `twice` for two times as many. `rows_for_wanted` is where the curve
    reaches the wanted score (None: it never does, or nothing was wanted). `caution` says what the interval leaves out.
    """

    points: tuple[CurvePoint, ...]
    a: float | None = None
    b: float | None = None
    c: float | None = None
    full: Forecast | None = None
    twice: Forecast | None = None
    line: tuple[Forecast, ...] = ()
    rows_for_wanted: int | None = None
    failure: str = ""
    caution: str = ""


class Cost(Value):
    """What 1,000 calls of one arm take: tokens, seconds of this machine, and money where prices are known."""

    arm: str
    prompt_tokens: float
    answer_tokens: float
    machine_seconds: float
    money: float | None
    money_per_day: float | None


class BreakEven(Value):
    """After how many calls a tune has paid for itself against `against`, and in how many days at the user's volume.

    `unit` is what is saved: money where prices are known, else seconds of this machine. None: it never does.
    """

    against: str
    unit: Literal["money", "machine seconds"]
    spent: float
    saved_per_thousand: float
    calls: float | None
    days: float | None


class Collect(Value):
    """One kind of rows to collect next, and why."""

    kind: str
    why: str


class Finding(Value):
    """What one rule says, with its figures in one sentence and the source of the rule."""

    rule: str
    answer: Answer
    reason: str
    source: str


class Recommendation(Value):
    """What to do, in one sentence, and the rules that led to it."""

    choice: Choice
    headline: str
    because: tuple[str, ...]


class LeftOut(Value):
    """What was not measured, and why."""

    what: str
    why: str


class Evidence(Value):
    """All that the rules look at.

    `scores` are those of each family's representative on the held-out rows; `pairs` compare them, the p-values
    corrected by Holm. `adapter_bits` is what the adapter can hold, `answer_bits` what the answers of all training rows
    say that the base does not know (None: not measured).
    """

    metric: str
    better: Better
    scale: Scale
    confidence: float
    train_rows: int
    held_out_rows: int
    wanted: float | None
    margin: float
    scores: dict[Family, Score]
    names: dict[Family, str]
    pairs: tuple[Comparison, ...]
    curve: Curve | None = None
    break_even: BreakEven | None = None
    adapter_bits: float | None = None
    answer_bits: float | None = None


class DecideReport(Value):
    """The whole decision, as it is written to decision.json."""

    name: str
    base: str
    dataset_digest: str
    created: str
    evidence: Evidence
    validation: tuple[Arm, ...]
    held_out: tuple[Arm, ...]
    costs: tuple[Cost, ...]
    collect: tuple[Collect, ...]
    findings: tuple[Finding, ...]
    recommendation: Recommendation
    left_out: tuple[LeftOut, ...]
    calls_per_day: float | None
    seconds: float
