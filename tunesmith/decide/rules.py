"""The decision table: each rule a small pure function of the evidence, with its source (docs/decide.md)."""

from __future__ import annotations

import math
from collections.abc import Callable

from tunesmith.decide.evidence import Answer, Evidence, Family, Finding, Forecast
from tunesmith.decide.pairs import gain_of, pair_of, smallest_found
from tunesmith.gate.rule import points, shown
from tunesmith.types.report import Comparison, Score

__all__ = [
    "PROMPTING",
    "RULES",
    "adapter_is_too_small",
    "best_of",
    "enough_rows",
    "judge",
    "prompt_reaches_wanted",
    "retrieval_helps",
    "rival_of",
    "tuning_helps",
    "tuning_pays",
    "tuning_will_help",
]

PROMPTING: tuple[Family, ...] = ("base", "prompt", "few_shot")
LEAST_TRAIN = 50
COARSE = 0.15
SOON_DAYS = 90.0


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """What every rule says, in the order of the table."""
    return tuple(rule(evidence) for rule in RULES)


def best_of(evidence: Evidence, families: tuple[Family, ...]) -> Family | None:
    """The family of `families` with the best score; None when none was measured."""
    found = [(family, score.value) for family in families if (score := evidence.scores.get(family)) is not None]
    known = [(value if evidence.better == "higher" else -value, family) for family, value in found if value is not None]
    return max(known, key=lambda each: each[0])[1] if known else None


def rival_of(evidence: Evidence) -> Family | None:
    """The best way that needs no tuning."""
    return best_of(evidence, (*PROMPTING, "retrieval"))


def enough_rows(evidence: Evidence) -> Finding:
    """Can these rows show anything? No below 50 training rows, or when no difference under 15 points would be seen."""
    source = "OpenAI's fine-tuning guide: clear gains are usual from 50 to 100 rows; power as in Card et al. 2020"
    pair = _main_pair(evidence)
    rows = f"{evidence.train_rows:,} training rows and {evidence.held_out_rows:,} held-out rows"
    if evidence.train_rows < LEAST_TRAIN:
        return _finding("enough_rows", "no", f"there are {rows}; tuning needs {LEAST_TRAIN} at the least", source)
    if pair is None:
        return _finding("enough_rows", "unsure", f"there are {rows}, but no two ways were measured on them", source)
    seen = smallest_found(pair)
    if evidence.scale != "number" and seen > COARSE:
        figure = points(seen, evidence.scale)
        return _finding("enough_rows", "no", f"{rows} would only show differences above {figure}", source)
    return _finding("enough_rows", "yes", f"{rows} show differences from {points(seen, evidence.scale)}", source)


def prompt_reaches_wanted(evidence: Evidence) -> Finding:
    """Is prompting good enough already? By the whole interval of its score."""
    source = "OpenAI's, Anthropic's and Google's guides: exhaust prompting first (practice, not a measurement)"
    family = best_of(evidence, PROMPTING)
    score = evidence.scores.get(family) if family else None
    if family is None or score is None or evidence.wanted is None:
        return _finding("prompt_reaches_wanted", "unsure", "no wanted score was given (--wanted)", source)
    answer = _reaches(score, evidence.wanted)
    goal = shown(evidence.wanted, evidence.scale)
    return _finding("prompt_reaches_wanted", answer, f"{_said(evidence, family)}; wanted: {goal}", source)


def retrieval_helps(evidence: Evidence) -> Finding:
    """Is retrieval better than the best prompting, beyond chance?"""
    source = "Ovadia et al. 2024 (arXiv:2312.05934): for missing facts retrieval beats tuning; paired test here"
    prompting = best_of(evidence, PROMPTING)
    if prompting is None or "retrieval" not in evidence.scores:
        return _finding("retrieval_helps", "unsure", "no documents were given (--documents)", source)
    return _compared("retrieval_helps", evidence, "retrieval", prompting, source)


def tuning_helps(evidence: Evidence) -> Finding:
    """Is the small-budget tune better than everything that needs no tuning, beyond chance?"""
    source = "Liu et al. 2022 (arXiv:2205.05638): a small tune beats in-context examples; paired test here"
    rival = rival_of(evidence)
    if rival is None or "tuned" not in evidence.scores:
        return _finding("tuning_helps", "unsure", "no tune was measured", source)
    return _compared("tuning_helps", evidence, "tuned", rival, source)


def tuning_will_help(evidence: Evidence) -> Finding:
    """Does the learning curve's score at all training rows exceed the best rival's, by the difference's interval?"""
    source = "Viering & Loog 2021 (arXiv:2103.10948): such laws forecast the score at more rows, roughly"
    rival, curve = rival_of(evidence), evidence.curve
    if rival is None or curve is None or curve.full is None:
        why = curve.failure if curve is not None and curve.failure else "there is no learning curve"
        return _finding("tuning_will_help", "unsure", why, source)
    score, full = evidence.scores[rival], curve.full
    span = (
        f"{shown(full.value, evidence.scale)} ({shown(full.low, evidence.scale)} to {shown(full.high, evidence.scale)})"
    )
    low, high = _difference(full, score)
    reason = (
        f"forecast at all {full.rows:,} rows: {span}; {_said(evidence, rival)}; difference "
        f"{points(low, evidence.scale)} to {points(high, evidence.scale)}"
    )
    return _finding("tuning_will_help", "yes" if low > 0 else "no" if high < 0 else "unsure", reason, source)


def adapter_is_too_small(evidence: Evidence) -> Finding:
    """Do the answers hold more than the adapter can? Then all weights must be tuned."""
    source = (
        "about 2 bits of knowledge per parameter (Allen-Zhu & Li 2024, arXiv:2404.05405); LoRA learns as much as full "
        "tuning below that (Schulman et al. 2025, LoRA Without Regret) and less above (Biderman et al. 2024)"
    )
    if evidence.adapter_bits is None or evidence.answer_bits is None:
        return _finding("adapter_is_too_small", "unsure", "no tune was measured", source)
    holds, needed = evidence.adapter_bits, evidence.answer_bits
    reason = f"the answers of all training rows hold about {needed:,.0f} bits, the adapter can hold about {holds:,.0f}"
    return _finding("adapter_is_too_small", "yes" if needed > holds else "no", reason, source)


def tuning_pays(evidence: Evidence) -> Finding:
    """Is the tune as good as its rival (within the margin) and paid back within 90 days at the given volume?"""
    source = "arithmetic on measured tokens and seconds; as good: a paired non-inferiority bound"
    rival, even = rival_of(evidence), evidence.break_even
    pair = pair_of(evidence.pairs, "tuned", rival) if rival else None
    if pair is None or even is None or even.days is None:
        saved = even is not None and even.calls is None
        missing = "no tune was measured" if pair is None else "no volume was given (--calls-per-day)"
        why = "a tuned call saves nothing" if saved else missing
        return _finding("tuning_pays", "no" if saved else "unsure", why, source)
    _, low, _ = gain_of(pair)
    reason = f"paid back after {even.calls:,.0f} calls, {even.days:,.1f} days, against {even.against}"
    if low < -evidence.margin:
        lost = points(-low, evidence.scale)
        return _finding("tuning_pays", "no", f"{reason}, but the tune may be {lost} worse", source)
    return _finding("tuning_pays", "yes" if even.days <= SOON_DAYS else "no", reason, source)


def _difference(forecast: Forecast, score: Score) -> tuple[float, float]:
    """The interval of forecast - score from the interval of each, which come of different rows.

    Zou & Donner 2008 (doi:10.1002/sim.3095), as Newcombe's interval for two proportions: the distances to the ends that
    matter add as standard errors do.
    """
    value = score.value or 0.0
    low, high = (value if end is None else end for end in (score.low, score.high))
    difference = forecast.value - value
    below = math.hypot(forecast.value - forecast.low, high - value)
    above = math.hypot(forecast.high - forecast.value, value - low)
    return difference - below, difference + above


def _compared(rule: str, evidence: Evidence, model: Family, baseline: Family, source: str) -> Finding:
    pair = pair_of(evidence.pairs, model, baseline)
    if pair is None:
        return _finding(rule, "unsure", f"no row was scored for both {model} and {baseline}", source)
    gain, low, high = gain_of(pair)
    scale = evidence.scale
    way = "better" if gain >= 0 else "worse"
    reason = (
        f"{evidence.names[model]} is {points(abs(gain), scale)} {way} than {evidence.names[baseline]} on the same "
        f"{pair.n:,} rows ({pair.confidence:.0%} interval {points(low, scale)} to {points(high, scale)}; corrected p "
        f"{'below 0.001' if pair.p_value < 0.001 else f'= {pair.p_value:.3f}'})"
    )
    sure = pair.p_value < 1.0 - pair.confidence
    if low > 0 and sure:
        return _finding(rule, "yes", reason, source)
    if high < evidence.margin or (pair.won == 0 and pair.lost == 0):
        return _finding(rule, "no", reason, source)
    more = f"; about {pair.rows_for_decision:,} more held-out rows would settle it" if pair.rows_for_decision else ""
    return _finding(rule, "unsure", reason + more, source)


def _main_pair(evidence: Evidence) -> Comparison | None:
    """The comparison that matters most: of the tune, else of retrieval, with the best prompting, else any."""
    prompting = best_of(evidence, PROMPTING)
    if prompting is None:
        return None
    models: tuple[Family, ...] = ("tuned", "retrieval")
    found = (pair_of(evidence.pairs, model, prompting) for model in models)
    return next((pair for pair in found if pair is not None), evidence.pairs[0] if evidence.pairs else None)


def _reaches(score: Score, wanted: float) -> Answer:
    low, high = score.low or 0.0, score.high or 0.0
    if score.better == "lower":
        low, high, wanted = -high, -low, -wanted
    return "yes" if low >= wanted else "no" if high < wanted else "unsure"


def _said(evidence: Evidence, family: Family) -> str:
    score = evidence.scores[family]
    span = f"{shown(score.low or 0.0, score.scale)} to {shown(score.high or 0.0, score.scale)}"
    return f"{evidence.names[family]} scores {shown(score.value or 0.0, score.scale)} ({span})"


def _finding(rule: str, answer: Answer, reason: str, source: str) -> Finding:
    return Finding(rule=rule, answer=answer, reason=reason, source=source)


RULES: tuple[Callable[[Evidence], Finding], ...] = (
    enough_rows,
    prompt_reaches_wanted,
    retrieval_helps,
    tuning_helps,
    tuning_will_help,
    adapter_is_too_small,
    tuning_pays,
)
