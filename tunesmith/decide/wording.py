"""The figures of a decision as rows of text, for the page, the Markdown and the terminal alike."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.decide.evidence import Arm, Cost, Curve, DecideReport, Forecast
from tunesmith.gate.rule import shown
from tunesmith.page.wording import duration

__all__ = ["Table", "arm_table", "confidence_note", "cost_table", "curve_note", "even_note", "finding_table", "summary"]


class Table(NamedTuple):
    """Heads and rows of text."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def arm_table(arms: tuple[Arm, ...]) -> Table:
    """One row for each arm: its score with interval, its tokens, its times."""
    heads = ("way", "score", "interval", "prompt tokens", "answer tokens", "median latency", "how")
    return Table(heads, tuple(_arm(arm) for arm in arms))


def cost_table(report: DecideReport) -> Table:
    """What 1,000 calls of each way take."""
    heads = ("1,000 calls of", "prompt tokens", "answer tokens", "machine seconds", "cost", "cost a day")
    return Table(heads, tuple(_cost(cost) for cost in report.costs))


def finding_table(report: DecideReport) -> Table:
    """Every rule's answer."""
    rows = ((each.rule.replace("_", " "), each.answer, each.reason, each.source) for each in report.findings)
    return Table(("rule", "answer", "evidence", "source of the rule"), tuple(rows))


def curve_note(curve: Curve | None) -> str:
    """The law and its forecasts in words, or why there are none."""
    if curve is None:
        return "No tune was measured."
    if curve.full is None or curve.a is None or curve.b is None or curve.c is None:
        return f"No forecast: {curve.failure}."
    said = [f"score(n) = {curve.a:.3f} / (1 + {curve.b:,.3g} n^-{curve.c:.2f})", _forecast(curve.full, "all")]
    said += [_forecast(curve.twice, "twice as many:")] if curve.twice else []
    said += [f"the wanted score at about {curve.rows_for_wanted:,} rows"] if curve.rows_for_wanted else []
    return "; ".join(said) + (f". Caution: {curve.caution}." if curve.caution else ".")


def even_note(report: DecideReport) -> str:
    """When a tune has paid for itself, in words."""
    even = report.evidence.break_even
    if even is None:
        return "Nothing to compare a tune's cost with."
    if even.calls is None:
        return f"A tuned call saves nothing against {even.against}, so a tune is never paid back by its calls."
    saved = f"{even.saved_per_thousand:,.3g} {even.unit}"
    days = f", {even.days:,.1f} days at your volume" if even.days is not None else ""
    return (
        f"A tune on all rows takes about {even.spent:,.3g} {even.unit}; tuned calls save {saved} per 1,000 against "
        f"{even.against}: paid back after {even.calls:,.0f} calls{days}."
    )


def confidence_note(report: DecideReport) -> str:
    """What was measured on what, in one sentence."""
    evidence = report.evidence
    return (
        f"{evidence.metric.replace('_', ' ')} on {evidence.held_out_rows:,} held-out rows that nothing was chosen on; "
        f"{evidence.confidence:.0%} intervals, p-values corrected for {len(evidence.pairs)} comparisons."
    )


def summary(report: DecideReport) -> tuple[str, ...]:
    """The sentences below the headline: the reasons of the rules that led to it, those that say something first."""
    found = {finding.rule: finding for finding in report.findings}
    reasons = [found[rule] for rule in report.recommendation.because if found[rule].answer != "unsure"]
    return tuple(f"{each.reason[:1].upper()}{each.reason[1:]}." for each in reasons)


def _arm(arm: Arm) -> tuple[str, ...]:
    score = arm.score
    value = "not scored" if score.value is None else shown(score.value, score.scale)
    ends = score.low is not None and score.high is not None
    span = f"{shown(score.low or 0.0, score.scale)} to {shown(score.high or 0.0, score.scale)}" if ends else ""
    times = duration(arm.latency)
    return arm.name, value, span, f"{arm.prompt_tokens:,.0f}", f"{arm.answer_tokens:.1f}", times, arm.note


def _cost(cost: Cost) -> tuple[str, ...]:
    money = "no prices given" if cost.money is None else f"{cost.money:,.4g}"
    daily = "" if cost.money_per_day is None else f"{cost.money_per_day:,.4g}"
    tokens = (f"{1000 * cost.prompt_tokens:,.0f}", f"{1000 * cost.answer_tokens:,.0f}")
    return cost.arm, *tokens, f"{cost.machine_seconds:,.0f}", money, daily


def _forecast(forecast: Forecast, name: str) -> str:
    return f"{name} {forecast.rows:,} rows {forecast.value:.1%} ({forecast.low:.1%} to {forecast.high:.1%})"
