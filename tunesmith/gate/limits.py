"""Bounds that no figure decides: with them, a rule passes or fails whatever is measured.

`at_least: 95` of a share fails always, `at_most: 5` passes always; both look like percent. They are refused before
anything runs, as is a bound that no interval of finitely many rows reaches (a share of `at_least: 1`). The end that
everything reaches (`at_least: 0`) may be somebody's wish: it is judged, and the verdict says what that is worth.
"""

from __future__ import annotations

import math

from tunesmith.errors import Problem
from tunesmith.gate.rule import Limit
from tunesmith.types.report import Gauge

__all__ = ["undecidable"]


def undecidable(limit: Limit, field: str, metric: str, gauge: Gauge) -> Problem | None:
    """What is wrong with the bound `limit` of a rule at `field`, given the values that `metric` can take."""
    difference = limit.kind in ("gain", "loss")
    effect = _on_difference(limit, gauge) if difference else _on_value(limit, gauge)
    if effect is None:
        return None
    about = _difference_of(metric, gauge) if difference else f"{metric} lies {_between(gauge)}"
    if _is_end(limit, gauge):
        about = f"no finite number of rows proves that {metric} is {limit.value:g}"
    written = f"`{limit.option}: {limit.value:g}`"
    return Problem(f"{about}, so {written} {effect}, whatever is measured", field=field, fix=_fix(limit, gauge))


def _on_value(limit: Limit, gauge: Gauge) -> str | None:
    """What a bound on a value comes to, None when figures decide it."""
    beyond = limit.value > gauge.high, limit.value < gauge.low
    never, always = beyond if limit.kind == "least" else beyond[::-1]
    if never or _is_end(limit, gauge):
        return "never passes"
    return "always passes" if always else None


def _is_end(limit: Limit, gauge: Gauge) -> bool:
    """Whether the bound is the end of a share that a value would have to reach, which its interval never does."""
    return gauge.scale != "number" and (limit.kind, limit.value) in (("least", gauge.high), ("most", gauge.low))


def _on_difference(limit: Limit, gauge: Gauge) -> str | None:
    """What a bound on a difference comes to. A loss of plain numbers is a share of the baseline's own value."""
    if limit.kind == "gain":
        return "never passes" if limit.value >= gauge.high - gauge.low else None
    losable = gauge.high - gauge.low
    if gauge.scale == "number":
        losable = 1.0 if gauge.better == "higher" and gauge.low >= 0.0 else math.inf
    return "always passes" if limit.value >= losable else None


def _difference_of(metric: str, gauge: Gauge) -> str:
    if gauge.scale == "number" and math.isinf(gauge.high):
        return f"{metric} cannot lose more than all of its value"
    return f"two values of {metric} differ by {gauge.high - gauge.low:g} at most"


def _between(gauge: Gauge) -> str:
    return f"at {gauge.low:g} or above" if math.isinf(gauge.high) else f"between {gauge.low:g} and {gauge.high:g}"


def _fix(limit: Limit, gauge: Gauge) -> str:
    """What may have been meant: 95 for 0.95, and which numbers there are."""
    if gauge.scale == "number" and limit.kind != "loss":
        top = gauge.high - gauge.low if limit.kind == "gain" else gauge.high
        return f"allowed: {gauge.low if limit.kind != 'gain' else 0:g} to {top:g}"
    meant = limit.value / 100 if 1.0 < limit.value < 100.0 else 0.99 if _is_end(limit, gauge) and limit.value else None
    guess = "" if meant is None else f"did you mean {meant:g}? "
    return f"{guess}allowed: above 0 and below 1"
