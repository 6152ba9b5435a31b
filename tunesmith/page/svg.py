"""SVG elements as safe markup: every attribute and text is escaped."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

__all__ = ["picture", "tag", "text", "ticks"]


def tag(kind: str, *children: str, **attributes: object) -> Markup:
    """One element. Underscores in attribute names become hyphens; a trailing one (`class_`) is dropped."""
    parts = [
        Markup('{}="{}"').format(
            key.rstrip("_").replace("_", "-"), f"{value:.2f}" if isinstance(value, float) else value
        )
        for key, value in attributes.items()
    ]
    opening = Markup(" ").join([Markup(kind), *parts])
    return Markup("<{0}>{1}</{2}>").format(opening, Markup("").join(escape(child) for child in children), kind)


def text(x: float, y: float, content: str, anchor: str = "start", class_: str = "tick") -> Markup:
    """A text at a point; `anchor` is start, middle or end."""
    return tag("text", content, x=x, y=y, text_anchor=anchor, class_=class_)


def picture(width: float, height: float, label: str, *children: str) -> Markup:
    """A picture that shrinks with the page and says what it shows to screen readers."""
    style = f"max-width:{width:g}px"
    return tag("svg", *children, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, style=style)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values (steps of 1, 2, 2.5 or 5 times a power of ten) within [low, high]."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if span / (power * each) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(step * each, 12) for each in range(first, math.floor(high / step + 1e-9) + 1)]
