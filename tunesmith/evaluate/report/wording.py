"""How names and figures are written for people."""

from __future__ import annotations

from tunesmith.page.wording import duration, name, shorten, size
from tunesmith.types.report import Comparison, Scale, Score

__all__ = [
    "about",
    "amount",
    "change",
    "duration",
    "interval",
    "name",
    "p_value",
    "plus_minus",
    "points",
    "shorten",
    "size",
]


def about(rows: int) -> str:
    """A number of rows to two figures, since it is an estimate: 14113 -> '15,000', 87 -> '87'. Rounded up."""
    step = 10 ** max(0, len(str(rows)) - 2)
    return f"{-(-rows // step) * step:,}"


def amount(value: float | None, scale: Scale) -> str:
    """A value on its scale: '93.3%', '1.42'; an em dash for nothing."""
    if value is None:
        return "\u2014"
    return _plain(value) if scale == "number" else f"{100 * value:.1f}%"


def points(value: float, scale: Scale) -> str:
    """A difference without its sign: '12.2 points' of percent, or a plain number."""
    return _plain(abs(value)) if scale == "number" else f"{100 * abs(value):.1f} points"


def plus_minus(score: Score) -> str:
    """'± 1.9%', empty when there is no standard error."""
    error = score.standard_error
    if error is None:
        return ""
    return f"\u00b1 {error:,.2g}" if score.scale == "number" and error < 100 else f"\u00b1 {amount(error, score.scale)}"


def interval(score: Score) -> str:
    """'88.7% to 96.1%', empty when nothing was scored."""
    if score.low is None or score.high is None:
        return ""
    return f"{amount(score.low, score.scale)} to {amount(score.high, score.scale)}"


def change(value: float, scale: Scale) -> str:
    """A difference with its sign and a real minus: '+12.2', '\u22120.31'."""
    figure = _plain(abs(value)) if scale == "number" else f"{100 * abs(value):.1f}"
    return ("+" if value > 0 else "\u2212" if value < 0 else "") + figure


def _plain(value: float) -> str:
    """Three figures, and no powers of ten for thousands: '1.42', '1,037'."""
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def p_value(comparison: Comparison) -> str:
    """'< 0.001' or three decimals."""
    return "< 0.001" if comparison.p_value < 0.001 else f"{comparison.p_value:.3f}"
