"""The families compared on the same held-out rows, their p-values corrected for how many comparisons there are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

from tunesmith.decide.evidence import Family
from tunesmith.evaluate.compare import compare
from tunesmith.types.report import Comparison, Contestant

__all__ = ["compare_families", "corrected", "gain_of", "pair_of", "smallest_found"]

ORDER: tuple[Family, ...] = ("base", "prompt", "few_shot", "retrieval", "tuned")
POWER = 0.8


def compare_families(
    chosen: Mapping[Family, Contestant], metric: str, labels: tuple[str, ...], confidence: float
) -> tuple[Comparison, ...]:
    """Every later family minus every earlier one, named by family; p-values corrected by Holm."""
    found = []
    families = [family for family in ORDER if family in chosen]
    for place, baseline in enumerate(families):
        for model in families[place + 1 :]:
            pair = compare(metric, chosen[model], chosen[baseline], labels, confidence)
            if pair is not None:
                found.append(pair.model_copy(update={"model": model, "baseline": baseline}))
    return corrected(found)


def corrected(pairs: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """`pairs` with Holm's p-values (Holm 1979): the i-th smallest of m is multiplied by m - i, never falling.

    0.01, 0.04, 0.03 become 0.03, 0.06, 0.06.
    """
    order = sorted(range(len(pairs)), key=lambda place: pairs[place].p_value)
    adjusted: dict[int, float] = {}
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, pairs[place].p_value * (len(pairs) - rank)))
        adjusted[place] = highest
    return tuple(pair.model_copy(update={"p_value": adjusted[place]}) for place, pair in enumerate(pairs))


def pair_of(pairs: Sequence[Comparison], model: Family, baseline: Family) -> Comparison | None:
    """`model` minus `baseline`, turned round when it is there the other way."""
    for pair in pairs:
        if (pair.model, pair.baseline) == (model, baseline):
            return pair
        if (pair.model, pair.baseline) == (baseline, model):
            turned = {"model": model, "baseline": baseline, "won": pair.lost, "lost": pair.won}
            figures = {"difference": -pair.difference, "low": -pair.high, "high": -pair.low}
            return pair.model_copy(update={**turned, **figures})
    return None


def gain_of(pair: Comparison) -> tuple[float, float, float]:
    """(difference, low, high), positive when the model is better."""
    if pair.better == "higher":
        return pair.difference, pair.low, pair.high
    return -pair.difference, -pair.high, -pair.low


def smallest_found(pair: Comparison) -> float:
    """The smallest difference that these rows would find with 80% power (1: not even the largest).

    Of McNemar's exact test it is the comparison's own `detectable`; else (z_(1-alpha/2) + z_power) standard errors of
    the paired difference, taken from its interval.
    """
    if pair.test.startswith("McNemar"):
        return 1.0 if pair.detectable is None else pair.detectable
    z = NormalDist().inv_cdf(0.5 + pair.confidence / 2)
    error = (pair.high - pair.low) / (2 * z)
    least = 1 / math.sqrt(pair.n) / 2 if error == 0 else 0.0
    return (z + NormalDist().inv_cdf(POWER)) * max(error, least)
