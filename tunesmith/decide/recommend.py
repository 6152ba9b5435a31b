"""From what the rules say to one recommendation. The order is the order of effort: the least that is enough wins."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.decide.curve import LEAST_SIZES
from tunesmith.decide.evidence import Answer, Choice, Evidence, Finding, Recommendation
from tunesmith.decide.pairs import gain_of, pair_of
from tunesmith.decide.rules import PROMPTING, best_of, rival_of

__all__ = ["UNMEASURED", "recommend"]

HEADLINES: tuple[tuple[Choice, str], ...] = (
    ("prompt", "Keep prompting: {prompt} is enough."),
    ("retrieval", "Use retrieval: the documents bring what prompting lacks."),
    ("lora", "Tune with LoRA."),
    ("full", "Tune all weights: the rows hold more than the adapter can."),
    ("not_enough_data", "Not enough data to say: collect rows first."),
)
CLOSE = "The held-out rows do not tell which is better: hold out more of them."
LARGER = "Not settled by tunes of this size: the same command with --tune-rows {rows} goes on from here."
UNMEASURED = "Not enough was measured to say: the same command with more time (--budget-minutes) goes on from here."


def recommend(evidence: Evidence, findings: Sequence[Finding]) -> Recommendation:
    """The choice, and the rules that led to it.

    Prompting that reaches the wanted score wins (unless tuning is as good and pays back soon). Else the tune that is
    better than all else, or will be at all rows, wins; retrieval where it is better and the tune is not better still.
    Where nothing beats prompting, prompting stays, if the rows could have shown otherwise.
    """
    said = {finding.rule: finding.answer for finding in findings}
    choice, because = _choice(said, evidence)
    best = best_of(evidence, PROMPTING)
    larger = _larger_tune(evidence)
    headline = dict(HEADLINES)[choice].format(prompt=evidence.names[best] if best else "the prompt")
    if choice == "not_enough_data" and said["enough_rows"] != "no":
        headline = UNMEASURED if _unmeasured(evidence) else LARGER.format(rows=larger) if larger else CLOSE
    return Recommendation(choice=choice, headline=headline, because=because)


def _unmeasured(evidence: Evidence) -> bool:
    """Whether a tune, or the sizes that a learning curve needs, are yet to be measured."""
    sizes = {point.rows for point in evidence.curve.points} if evidence.curve else set()
    return "tuned" not in evidence.scores or len(sizes) < LEAST_SIZES


def _larger_tune(evidence: Evidence) -> int | None:
    """Twice the rows of the largest tune where the forecast for all rows says that more rows would win; else None."""
    rival, curve = rival_of(evidence), evidence.curve
    if rival is None or curve is None or curve.full is None:
        return None
    largest = max(point.rows for point in curve.points)
    wins = curve.full.value > (evidence.scores[rival].value or 0.0)
    return min(2 * largest, evidence.train_rows) if wins and largest < evidence.train_rows else None


def _choice(said: dict[str, Answer], evidence: Evidence) -> tuple[Choice, tuple[str, ...]]:
    tune: Choice = "full" if said["adapter_is_too_small"] == "yes" else "lora"
    size = ("adapter_is_too_small",)
    if said["prompt_reaches_wanted"] == "yes":
        if said["tuning_pays"] == "yes":
            return tune, ("prompt_reaches_wanted", "tuning_pays", *size)
        return "prompt", ("prompt_reaches_wanted",)
    if evidence.train_rows and said["enough_rows"] == "no" and "yes" not in (
        said["tuning_helps"], said["retrieval_helps"]
    ):  # fmt: skip
        return "not_enough_data", ("enough_rows", "tuning_helps")
    if said["tuning_helps"] == "yes":
        return tune, ("tuning_helps", "tuning_will_help", *size)
    if said["tuning_will_help"] == "yes" and said["enough_rows"] == "yes":
        return tune, ("tuning_will_help", "tuning_helps", *size)
    if said["retrieval_helps"] == "yes":
        return "retrieval", ("retrieval_helps", "tuning_helps")
    if said["tuning_pays"] == "yes":
        return tune, ("tuning_pays", "tuning_helps", *size)
    if said["tuning_helps"] == "no" or _no_gain_left(evidence):
        return "prompt", ("tuning_helps", "retrieval_helps", "tuning_will_help")
    return "not_enough_data", ("enough_rows", "tuning_helps", "tuning_will_help")


def _no_gain_left(evidence: Evidence) -> bool:
    """Whether even the upper end of the tune's gain is within the margin."""
    rival = rival_of(evidence)
    pair = pair_of(evidence.pairs, "tuned", rival) if rival else None
    return pair is not None and gain_of(pair)[2] < evidence.margin
