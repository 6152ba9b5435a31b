"""The plots: rows by their length, labels by their size, clusters by their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from tunesmith.page.frame import WIDTH, Frame, gridline
from tunesmith.page.svg import picture, tag, text, ticks

__all__ = ["Column", "column_chart", "length_chart"]

_BINS = 48


def length_chart(lengths: Mapping[str, Mapping[int, int]], limit: int) -> Markup:
    """Rows by tokens, the places (splits and dropped) on top of each other; the limit where it is near. Empty without
    lengths.
    """
    if not lengths:
        return Markup("")
    longest = max(size for counts in lengths.values() for size in counts)
    near = limit <= 1.6 * longest
    # Far outliers would press all others into one column: what is beyond the edge is counted in the last column.
    edge = max(min(longest, 4 * limit), limit if near else 0) * 1.02 + 1
    width = max(1, -(-int(edge) // _BINS))
    bins = -(-int(edge) // width)
    columns = {place: _binned(counts, width, bins) for place, counts in lengths.items()}
    heights = [sum(column[index] for column in columns.values()) for index in range(bins)]
    frame = Frame(58, 26, WIDTH - 12, 270)
    x, y = frame.x(0, bins * width), frame.y(0, max(heights) * 1.06)
    parts = [gridline(frame, y(each), f"{each:,g}") for each in ticks(0, max(heights)) if each == int(each)]
    for index in range(bins):
        low, base = index * width, 0
        title = f"{low:,} to {low + width - 1:,} tokens: " + ", ".join(
            f"{column[index]:,} {place}" for place, column in columns.items() if column[index]
        )
        for place, column in columns.items():
            if column[index]:
                top = y(base + column[index])
                parts.append(
                    tag("rect", tag("title", title), x=x(low) + 0.5, y=top, width=max(x(width) - x(0) - 1, 0.5),
                        height=y(base) - top, class_=f"place-{place}")
                )  # fmt: skip
            base += column[index]
    if near:
        anchor = "end" if x(limit) > WIDTH - 160 else "start"
        nudge = -6 if anchor == "end" else 6
        parts.append(tag("line", x1=x(limit), x2=x(limit), y1=frame.top - 16, y2=frame.bottom, class_="limit"))
        parts.append(text(x(limit) + nudge, frame.top - 8, f"limit {limit:,}", anchor, "limit-name"))
    parts += [text(x(each), frame.bottom + 20, f"{each:,g}", "middle") for each in ticks(0, bins * width, 10)]
    parts.append(text((frame.left + frame.right) / 2, frame.bottom + 42, "tokens of a row", "middle", "axis"))
    return picture(WIDTH, 322, "Rows by their length in tokens", *parts)


def _binned(counts: Mapping[int, int], width: int, bins: int) -> list[int]:
    found = [0] * bins
    for size, rows in counts.items():
        found[min(size // width, bins - 1)] += rows
    return found


class Column(NamedTuple):
    """One column of a chart."""

    name: str
    value: int
    title: str


def column_chart(columns: Sequence[Column], label: str, axis: str) -> Markup:
    """Columns side by side with their names below where there is room; empty without columns."""
    if not columns:
        return Markup("")
    frame = Frame(58, 14, WIDTH - 12, 200)
    most = max(column.value for column in columns)
    step = (frame.right - frame.left) / max(len(columns), 12)
    y = frame.y(0, most * 1.06)
    named = step >= 34
    parts = [gridline(frame, y(each), f"{each:,g}") for each in ticks(0, most, 4) if each == int(each)]
    for index, column in enumerate(columns):
        left = frame.left + index * step
        parts.append(
            tag("rect", tag("title", column.title), x=left + step * 0.1, y=y(column.value), width=step * 0.8,
                height=max(frame.bottom - y(column.value), 1.0), rx=min(3.0, step / 8), class_="place-train")
        )  # fmt: skip
        if named:
            parts.append(text(left + step / 2, frame.bottom + 18, column.name, "middle"))
    parts.append(text((frame.left + frame.right) / 2, frame.bottom + 40, axis, "middle", "axis"))
    return picture(WIDTH, 250, label, *parts)
