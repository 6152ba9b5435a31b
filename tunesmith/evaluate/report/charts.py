"""The plots: loss over steps, scores with their intervals, the interval of one difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from tunesmith.evaluate.report import wording
from tunesmith.page.frame import WIDTH, Frame, gridline, upright
from tunesmith.page.svg import picture, tag, text, ticks
from tunesmith.types.report import Comparison, Contestant, Score

__all__ = ["difference_chart", "loss_chart", "score_chart"]


def loss_chart(rows: Sequence[dict[str, Any]], best_step: int) -> Markup:
    """Training loss (steps faint, smoothed strong) and validation loss with the best checkpoint; empty without rows."""
    train, validation = _series(rows, "loss"), _series(rows, "validation_loss")
    points = train + validation
    if not points:
        return Markup("")
    last = max(max(step for step, _ in points), 1.0)
    top = max(loss for _, loss in points) * 1.05 or 1.0
    frame = Frame(52, 16, WIDTH - 12, 280)
    x, y = frame.x(0, last), frame.y(0, top)
    smooth = _smoothed(train)
    parts = [
        *(gridline(frame, y(each), f"{each:g}") for each in ticks(0, top)),
        *(text(x(each), frame.bottom + 20, f"{each:g}", "middle") for each in ticks(0, last, 8) if each == int(each)),
        text((frame.left + frame.right) / 2, frame.bottom + 40, "optimizer step", "middle", "axis"),
        _line(train, x, y, "train-raw"),
        _line(smooth, x, y, "train-line"),
        _line(validation, x, y, "validation-line"),
        *(tag("circle", tag("title", f"step {step:g}: validation loss {loss:.4f}"), cx=x(step), cy=y(loss), r=4,
              class_="validation-dot") for step, loss in validation),
        *(_best(x(step), y(loss), loss) for step, loss in validation if step == best_step),
    ]  # fmt: skip
    return picture(WIDTH, 326, "Training and validation loss over optimizer steps", *parts)


def score_chart(contestants: Sequence[Contestant]) -> Markup:
    """Scores between 0% and 100% of every contestant with their intervals, one group per metric."""
    names = [name for name, score in contestants[0].scores.items() if score.scale != "number"]
    scored = [
        (name, [(each, each.scores[name]) for each in contestants if each.scores[name].low is not None])
        for name in names
    ]
    groups = [(name, group) for name, group in scored if group]
    row, gap, left = 26.0, 20.0, 250.0
    height = 30 + sum(len(group) * row + gap for _, group in groups)
    frame = Frame(left, 8, WIDTH - 84, height - 26)
    x = frame.x(0, 1)
    parts = [upright(frame, x(each / 4), f"{25 * each}%") for each in range(5)]
    y = frame.top + 12
    for name, group in groups:
        score = group[0][1]
        note = " (lower is better)" if score.better == "lower" else ""
        parts.append(text(0, y + 4, wording.name(name), class_="group"))
        parts.append(text(0, y + 20, note.strip(), class_="tick"))
        for index, (contestant, score) in enumerate(group):
            parts.append(_whisker(frame, x, y + index * row, contestant, score))
        y += len(group) * row + gap
    return picture(WIDTH, height, "Scores with confidence intervals", *parts) if groups else Markup("")


def difference_chart(comparison: Comparison, reach: float) -> Markup:
    """One difference with its interval around a zero line, from -reach to +reach."""
    frame = Frame(6, 2, 144, 22)
    x = frame.x(-reach, reach)
    gain = comparison.difference if comparison.better == "higher" else -comparison.difference
    kind = "unsure" if comparison.rows_for_decision is not None else "good" if gain > 0 else "bad"
    return picture(
        150, 24, "interval of the difference",
        tag("line", x1=x(0), x2=x(0), y1=2, y2=22, class_="zero"),
        tag("line", x1=x(comparison.low), x2=x(comparison.high), y1=12, y2=12, class_=f"span {kind}"),
        tag("circle", cx=x(comparison.difference), cy=12, r=4, class_=f"dot {kind}"),
    )  # fmt: skip


def _series(rows: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    found = [(float(row["step"]), float(row[key])) for row in rows if row.get(key) is not None and "step" in row]
    return [(step, value) for step, value in found if math.isfinite(value)]


def _smoothed(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Centred moving average over about 1/15 of the steps (narrower at both ends), which does not lag behind."""
    half = len(points) // 30
    smooth = []
    for index, (step, _) in enumerate(points):
        reach = min(half, index, len(points) - 1 - index)
        window = [value for _, value in points[index - reach : index + reach + 1]]
        smooth.append((step, sum(window) / len(window)))
    return smooth


def _line(
    points: list[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float], class_: str
) -> Markup:
    return tag("polyline", points=" ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points), class_=class_)


def _best(x: float, y: float, loss: float) -> Markup:
    ring = tag("circle", cx=x, cy=y, r=9, class_="best-ring")
    return ring + text(x, y - 18, f"best {loss:.3f}", "end" if x > WIDTH - 90 else "middle", "best")


def _whisker(frame: Frame, x: Callable[[float], float], y: float, contestant: Contestant, score: Score) -> Markup:
    low, high, value = score.low or 0.0, score.high or 0.0, score.value or 0.0
    kind = f"contestant-{contestant.name}"
    return Markup("").join([
        text(frame.left - 12, y + 4, wording.name(contestant.name), "end", "label"),
        tag("line", x1=frame.left, x2=x(value), y1=y, y2=y, class_=f"reach {kind}"),
        tag("line", x1=x(low), x2=x(high), y1=y, y2=y, class_=f"whisker {kind}"),
        *(tag("line", x1=x(end), x2=x(end), y1=y - 5, y2=y + 5, class_=f"cap {kind}") for end in (low, high)),
        tag("circle", tag("title", wording.interval(score)), cx=x(value), cy=y, r=5.5, class_=f"dot {kind}"),
        text(frame.right + 12, y + 4, wording.amount(value, score.scale), class_="value"),
    ])  # fmt: skip
