"""The plots of a decision: the scores of all ways, and the learning curve with its forecast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from tunesmith.decide.evidence import Arm, Curve
from tunesmith.gate.rule import shown
from tunesmith.page.frame import WIDTH, Frame, gridline, upright
from tunesmith.page.svg import picture, tag, text, ticks

__all__ = ["arms_chart", "curve_chart"]

ROW = 30.0


def arms_chart(arms: Sequence[Arm], wanted: float | None) -> Markup:
    """Each arm's score with its interval, and the wanted score; empty where scores are no shares."""
    drawn = [arm for arm in arms if arm.score.scale != "number" and arm.score.value is not None]
    if not drawn:
        return Markup("")
    frame = Frame(250, 8, WIDTH - 84, 8 + ROW * len(drawn) + 8)
    x = frame.x(0, 1)
    parts = [upright(frame, x(each / 4), f"{25 * each}%") for each in range(5)]
    if wanted is not None:
        parts.append(tag("line", x1=x(wanted), x2=x(wanted), y1=frame.top, y2=frame.bottom, class_="limit"))
        parts.append(text(x(wanted) - 5, frame.top + 8, "wanted", "end", "limit-name"))
    for place, arm in enumerate(drawn):
        parts.append(_whisker(frame, arm, frame.top + 18 + place * ROW))
    return picture(WIDTH, frame.bottom + 26, "Scores of all ways with their intervals", *parts)


def curve_chart(curve: Curve, wanted: float | None) -> Markup:
    """Score over training rows (logarithmic), the fitted law and its interval; empty without points."""
    if not curve.points:
        return Markup("")
    rows = [point.rows for point in curve.points] + [each.rows for each in curve.line]
    frame = Frame(56, 16, WIDTH - 20, 290)
    low, high = math.log(min(rows)), math.log(max(rows) * 1.05)
    x, y = frame.x(low, high), frame.y(0, 1)

    def place(count: int) -> float:
        return x(math.log(count))

    sizes = sorted({point.rows for point in curve.points} | ({curve.full.rows} if curve.full else set()))
    parts = [*(gridline(frame, y(each), f"{each:.0%}") for each in ticks(0, 1)), *_sizes(frame, place, sizes)]
    if curve.line:
        upper = [(place(each.rows), y(min(each.high, 1.0))) for each in curve.line]
        lower = [(place(each.rows), y(each.low)) for each in reversed(curve.line)]
        parts.append(tag("polygon", points=_points(upper + lower), style="fill:var(--accent);opacity:.14"))
        middle = [(place(each.rows), y(each.value)) for each in curve.line]
        parts.append(tag("polyline", points=_points(middle), class_="train-line"))
    if wanted is not None:
        parts.append(tag("line", x1=frame.left, x2=frame.right, y1=y(wanted), y2=y(wanted), class_="limit"))
        parts.append(text(frame.right, y(wanted) - 6, "wanted", "end", "limit-name"))
    for point in curve.points:
        centre = place(point.rows)
        parts.append(tag("line", x1=centre, x2=centre, y1=y(point.low), y2=y(point.high), class_="whisker"))
        note = tag("title", f"{point.rows:,} rows: {point.score:.1%}")
        parts.append(tag("circle", note, cx=centre, cy=y(point.score), r=5.5, class_="dot"))
    parts.append(text((frame.left + frame.right) / 2, frame.bottom + 40, "training rows", "middle", "axis"))
    return picture(WIDTH, 336, "Score over training rows with the fitted curve", *parts)


def _sizes(frame: Frame, place: Callable[[int], float], sizes: Sequence[int]) -> list[Markup]:
    """The sizes under the plot, those left out that would stand on another."""
    shown_at: list[Markup] = []
    last = -math.inf
    for size in sizes:
        here = place(size)
        if here - last > 40:
            shown_at.append(text(here, frame.bottom + 20, f"{size:,}", "middle"))
            last = here
    return shown_at


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def _whisker(frame: Frame, arm: Arm, y: float) -> Markup:
    x, score = frame.x(0, 1), arm.score
    low, high, value = score.low or 0.0, score.high or 0.0, score.value or 0.0
    kind = {"base": "contestant-base", "tuned": "good"}.get(arm.family, "contestant-prompt_only")
    return Markup("").join([
        text(frame.left - 12, y + 4, arm.name, "end", "label"),
        tag("line", x1=frame.left, x2=x(value), y1=y, y2=y, class_=f"reach {kind}"),
        tag("line", x1=x(low), x2=x(high), y1=y, y2=y, class_=f"whisker {kind}"),
        tag("circle", cx=x(value), cy=y, r=5.5, class_=f"dot {kind}"),
        text(frame.right + 12, y + 4, shown(value, score.scale), class_="value"),
    ])  # fmt: skip
