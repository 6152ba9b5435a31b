"""What rules share that hold two contestants against each other on the same rows."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from pydantic import Field

from tunesmith.errors import NotFound
from tunesmith.gate.rule import (
    Limit,
    Reads,
    SliceName,
    more_rows,
    more_rows_of_pairs,
    place,
    points,
    report_of,
    rows_advice,
    score_of,
    shown,
)
from tunesmith.types.base import Value
from tunesmith.types.decision import Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import Comparison, EvaluationReport, Scale

__all__ = ["ONE_ROW", "Gain", "NotWorse", "paired"]

ONE_ROW = "one row or group says nothing about others"


class Gain(NamedTuple):
    """The paired difference with its interval, positive when the model is better; `pair` is what it comes from."""

    value: float
    low: float
    high: float
    scale: Scale
    pair: Comparison

    def sentence(self) -> str:
        """The figures in one sentence."""
        pair, scale = self.pair, self.scale
        return (
            f"{pair.model} is {points(abs(self.value), scale)} {'better' if self.value >= 0 else 'worse'} than "
            f"{pair.baseline} in {pair.metric} on the same {pair.n} rows ({pair.confidence:.0%} interval of the gain "
            f"{points(self.low, scale)} to {points(self.high, scale)}; {pair.test} p {_p(pair.p_value)}; "
            f"{pair.won} rows won, {pair.lost} lost)"
        )

    @property
    def of_one_row(self) -> bool:
        """Whether it is a plain number's difference on one row or group, whose interval is that figure alone."""
        return self.scale == "number" and (self.pair.clusters or self.pair.n) < 2

    def more_rows(self, border: float) -> int | None:
        """About how many more rows would settle on which side of `border` the gain lies (None: on it)."""
        pair = self.pair
        if pair.test.startswith("McNemar"):
            flips = (pair.won + pair.lost) / pair.n
            return more_rows_of_pairs(self.value, border, flips, pair.n, pair.confidence)
        return more_rows(self.value, border, (self.low, self.high), pair.n, pair.confidence)


def paired(report: EvaluationReport, metric: str, model: str, baseline: str) -> Gain | None:
    """The gain of `model` over `baseline`, turned round when the report holds it the other way; None: no row for both.

    Raises NotFound for an absent metric or contestant, and for a contestant against itself.
    """
    scale = score_of(report, model, metric).scale
    score_of(report, baseline, metric)
    if model == baseline:
        raise NotFound(f"A rule cannot compare {model} with itself.", hint="Name two different contestants.")
    for pair in report.comparisons:
        if pair.metric != metric or {pair.model, pair.baseline} != {model, baseline}:
            continue
        found = pair if pair.model == model else _reversed(pair)
        if found.better == "higher":
            return Gain(found.difference, found.low, found.high, scale, found)
        return Gain(-found.difference, -found.high, -found.low, scale, found)
    return None


class NotWorse(Value):
    """Non-inferiority: `model` is worse than `baseline` by less than `margin`, judged by the paired interval.

    pass when the gain's lower end is above -margin, fail when its upper end is below -margin; else inconclusive.
    `margin` is a difference of shares (0.02: two points); for plain numbers such as perplexity, a share of the
    baseline's own value (0.02: two percent of it, taken as known).
    """

    verb: ClassVar[str] = "not worse than"

    metric: str
    model: str = "tuned"
    baseline: str
    margin: float = Field(gt=0.0, le=1.0)
    suite: str = ""
    slice: SliceName = ""

    def reads(self) -> Reads:
        """One metric of two contestants."""
        limit = Limit("margin", self.margin, "loss")
        return Reads((self.metric,), (self.model, self.baseline), None, self.suite, slice=self.slice, limit=limit)

    def judge(self, report: EvaluationReport, facts: GateFacts) -> Verdict:
        """Raises NotFound for an absent suite, metric or contestant."""
        found = report_of(report, self.suite)
        gain = paired(found, self.metric, self.model, self.baseline)
        name, where = type(self).__module__.rpartition(".")[2], place(self.suite, self.slice)
        baseline = score_of(found, self.baseline, self.metric)
        relative = baseline.scale == "number"
        allowed = f"{100 * self.margin:.3g}% of its value" if relative else points(self.margin, baseline.scale)
        rule = f"{name}({self.model} {self.verb} {self.baseline} in {self.metric} by more than {allowed}{where})"
        if gain is None or baseline.value is None:
            return Verdict(rule=rule, outcome="inconclusive", reason=f"no row was scored for both in {self.metric}")
        margin = self.margin * abs(baseline.value) if relative else self.margin
        figures = gain.sentence() + (f"; {self.baseline} has {shown(baseline.value, 'number')}" if relative else "")
        if gain.of_one_row:
            return Verdict(rule=rule, outcome="inconclusive", reason=f"{figures}; {ONE_ROW}")
        if gain.low > -margin:
            return Verdict(rule=rule, outcome="pass", reason=f"{figures}; a loss beyond {allowed} is ruled out")
        if gain.high < -margin:
            return Verdict(rule=rule, outcome="fail", reason=f"{figures}; the loss is more than {allowed}")
        asked = f"{figures}, which does not rule out a loss of {allowed}"
        return Verdict(rule=rule, outcome="inconclusive", reason=f"{asked}; {rows_advice(gain.more_rows(-margin))}")


def _reversed(pair: Comparison) -> Comparison:
    turned: dict[str, object] = {"model": pair.baseline, "baseline": pair.model, "won": pair.lost, "lost": pair.won}
    shares = (pair.relative, pair.relative_high, pair.relative_low)
    for name, share in zip(("relative", "relative_low", "relative_high"), shares, strict=True):
        turned[name] = None if share is None or share <= -1.0 else 1.0 / (1.0 + share) - 1.0
    return pair.model_copy(update={**turned, "difference": -pair.difference, "low": -pair.high, "high": -pair.low})


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"= {value:.3f}"
