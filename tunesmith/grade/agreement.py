"""How far those who judged the same items agree, people or models, beyond what chance gives.

Cohen's kappa for two annotators and Krippendorff's alpha for any number of them with gaps. Both are 1 for full
agreement, 0 for what chance gives, below 0 for systematic disagreement, and None where they say nothing: no item was
judged twice, or only one label was ever given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import product
from typing import Literal, NamedTuple

__all__ = ["Kappa", "Level", "cohen_kappa", "krippendorff_alpha"]

Level = Literal["nominal", "ordinal", "interval"]


class Kappa(NamedTuple):
    """Cohen's kappa over `items`, its approximate standard error, and the share of equal labels."""

    value: float | None
    standard_error: float | None
    items: int
    equal: float | None


def cohen_kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> Kappa:
    """Kappa of two annotators' labels of the same items, a pair for each item.

    kappa = (p - e) / (1 - e), p the share of equal pairs, e = sum over labels of both annotators' shares, multiplied;
    standard error sqrt(p (1 - p) / (n (1 - e)^2)) (Cohen 1960, doi:10.1177/001316446002000104).
    """
    items = len(pairs)
    if not items:
        return Kappa(None, None, 0, None)
    equal = sum(first == second for first, second in pairs) / items
    firsts, seconds = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    chance = sum(count * seconds[label] for label, count in firsts.items()) / items**2
    if chance == 1.0:
        return Kappa(None, None, items, equal)
    error = (equal * (1 - equal) / items) ** 0.5 / (1 - chance)
    return Kappa((equal - chance) / (1 - chance), error, items, equal)


def krippendorff_alpha(units: Iterable[Sequence[Hashable]], level: Level = "nominal") -> float | None:
    """Alpha of `units`: for each item the labels that its annotators gave, in any order, gaps left out.

    alpha = 1 - (n - 1) sum o_ck d_ck / sum n_c n_k d_ck over the coincidences o_ck of labels c and k, each unit's pairs
    weighted by 1 / (labels - 1) (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). The difference d_ck
    is 0 or 1 (nominal), by ranks (ordinal) or (c - k)^2 (interval); the last two need labels that are numbers.
    """
    coincidences: Counter[tuple[Hashable, Hashable]] = Counter()
    for labels in units:
        if len(labels) < 2:
            continue
        counts = Counter(labels)
        for one, other in product(counts, repeat=2):
            pairs = counts[one] * (counts[other] - (one == other))
            coincidences[one, other] += pairs / (len(labels) - 1)  # type: ignore[assignment]  # a weight, not a count
    totals: Counter[Hashable] = Counter()
    for (one, _), weight in coincidences.items():
        totals[one] += weight
    difference = _difference(level, totals)
    observed = sum(weight * difference(*pair) for pair, weight in coincidences.items())
    expected = sum(totals[one] * totals[other] * difference(one, other) for one, other in product(totals, repeat=2))
    return 1 - (sum(totals.values()) - 1) * observed / expected if expected else None


def _difference(level: Level, totals: Counter[Hashable]) -> Callable[[Hashable, Hashable], float]:
    """The squared difference of two labels at `level` of measurement."""
    if level == "nominal":
        return lambda one, other: float(one != other)
    numbers = {label: float(str(label)) for label in totals}
    if level == "interval":
        return lambda one, other: (numbers[one] - numbers[other]) ** 2

    def by_ranks(one: Hashable, other: Hashable) -> float:
        low, high = sorted((numbers[one], numbers[other]))
        between = sum(totals[label] for label, number in numbers.items() if low <= number <= high)
        return (between - (totals[one] + totals[other]) / 2) ** 2

    return by_ranks
