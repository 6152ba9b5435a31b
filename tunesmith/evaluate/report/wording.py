"""How names and figures are written for people."""

from __future__ import annotations

from tunesmith.page.wording import duration, name, shorten, size
from tunesmith.types.report import Comparison, Scale, Score

__all__ = [
    "about",
    "amount",
    "change",
    "coefficient",
    "detectable",
    "difference",
    "duration",
    "error_of",
    "groups",
    "head",
    "holm",
    "interval",
    "name",
    "p_value",
    "plus_minus",
    "points",
    "shorten",
    "size",
]

_SECONDS = ("latency", "time_to_first_token")
NOTHING = "\u2014"


def about(rows: int) -> str:
    """A number of rows to two figures, since it is an estimate: 14113 -> '15,000', 87 -> '87'. Rounded up."""
    step = 10 ** max(0, len(str(rows)) - 2)
    return f"{-(-rows // step) * step:,}"


def head(title: str, score: Score) -> str:
    """The head of a metric's column, with the unit where the figure has one: 'Latency (s)'."""
    return f"{name(title)} (s)" if score.metric in _SECONDS else name(title)


def amount(value: float | None, scale: Scale) -> str:
    """A value on its scale: '93.3%', '1.42'; an em dash for nothing."""
    if value is None:
        return NOTHING
    return _plain(value) if scale == "number" else f"{100 * value:.1f}%"


def points(value: float, scale: Scale) -> str:
    """A difference without its sign: '12.2 points' of percent, or a plain number."""
    return _plain(abs(value)) if scale == "number" else f"{100 * abs(value):.1f} points"


def plus_minus(score: Score) -> str:
    """'± 1.9%', empty when nothing tells how sure the score is.

    Rows that are all alike have the error 0, which promises what no number of rows can, and one row has none: their
    interval stands for it.
    """
    error = score.standard_error
    if (error is None or error < 1e-12) and score.low != score.high:
        return interval(score)
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


def difference(value: float, scale: Scale) -> str:
    """A difference with its sign and its unit: '+12.2 pts' of percent, or a plain number."""
    return change(value, scale) + ("" if scale == "number" else " pts")


def p_value(comparison: Comparison) -> str:
    """The test's own p: '< 0.001' or three decimals."""
    return _p(comparison.p_value)


def holm(comparison: Comparison) -> str:
    """p adjusted over all metrics of the pair; an em dash where it was not."""
    return NOTHING if comparison.p_adjusted is None else _p(comparison.p_adjusted)


def detectable(comparison: Comparison, scale: Scale) -> str:
    """The smallest true difference that such rows find with 80% power: '8.1 pts'; an em dash where there is none."""
    return NOTHING if comparison.detectable is None else difference(comparison.detectable, scale).lstrip("+")


def coefficient(value: float | None) -> str:
    """A coefficient of agreement: '0.72', '\u22120.10'; an em dash where it says nothing."""
    return NOTHING if value is None else f"{value:.2f}".replace("-", "\u2212")


def error_of(error: float | None) -> str:
    """'± 0.05' of a coefficient; empty where there is none."""
    return "" if error is None else f"\u00b1 {error:.2f}"


def groups(measured: Comparison | Score) -> str:
    """'12 groups' where rows share one, and only groups are independent; empty where every row stands alone."""
    return "" if measured.clusters is None else f"{measured.clusters:,} group{'' if measured.clusters == 1 else 's'}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
