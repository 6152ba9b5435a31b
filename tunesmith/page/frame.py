"""The plotting area of a chart: values to places, and the grid behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup

from tunesmith.page.svg import tag, text

__all__ = ["WIDTH", "Frame", "gridline", "upright"]

WIDTH = 975.0


class Frame(NamedTuple):
    """The plotting area in picture units."""

    left: float
    top: float
    right: float
    bottom: float

    def x(self, low: float, high: float) -> Callable[[float], float]:
        """A value on the horizontal axis -> its place."""
        return lambda value: self.left + (value - low) / ((high - low) or 1.0) * (self.right - self.left)

    def y(self, low: float, high: float) -> Callable[[float], float]:
        """A value on the vertical axis -> its place, upwards."""
        return lambda value: self.bottom - (value - low) / ((high - low) or 1.0) * (self.bottom - self.top)


def gridline(frame: Frame, y: float, label: str) -> Markup:
    """A line across the plot at height `y`, its value on the left."""
    line = tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid")
    return line + text(frame.left - 10, y + 4, label, "end")


def upright(frame: Frame, x: float, label: str) -> Markup:
    """A line down the plot at `x`, its value below."""
    line = tag("line", x1=x, x2=x, y1=frame.top, y2=frame.bottom, class_="grid")
    return line + text(x, frame.bottom + 18, label, "middle")
