"""The confusion matrix as a heat map: rows are the right labels, columns the answers."""

from __future__ import annotations

from markupsafe import Markup

from tunesmith.evaluate.report.svg import picture, tag, text
from tunesmith.types.report import Contestant

__all__ = ["heatmap"]

AREA = 560.0
INVALID = "(no known label)"


def heatmap(contestant: Contestant) -> Markup:
    """Cells shaded by their share of the row; the diagonal (right answers) in another colour than errors.

    Up to 28 labels carry their counts; beyond that a cell shows its figures when pointed at. Empty without labels.
    """
    labels: list[str | None] = [each.label for each in contestant.classes]
    if not labels:
        return Markup("")
    if any(cell.predicted is None for cell in contestant.confusions):
        labels.append(None)
    place = {label: index for index, label in enumerate(labels)}
    support = {each.label: each.support for each in contestant.classes}
    cell = min(44.0, max(9.0, AREA / len(labels)))
    width = min(200.0, max(len(label or INVALID) for label in labels) * _letter(cell))
    upright = cell < 22
    left, top = 12 + width, 14 + (width if upright else 0.82 * width)
    parts = [_background(left, top, cell, len(contestant.classes), len(labels))]
    for found in contestant.confusions:
        row, column = place[found.reference], place[found.predicted]
        share = found.count / max(1, support[found.reference])
        title = (
            f"{found.reference} answered as {found.predicted or INVALID}: {found.count} of {support[found.reference]}"
        )
        x, y = left + column * cell, top + row * cell
        parts.append(_cell(x, y, cell, share, found.count, title, found.reference == found.predicted))
    parts.extend(_names(labels, left, top, cell, upright))
    height = top + cell * len(contestant.classes) + 6
    right = left + cell * len(labels) + (8 if upright else max(40.0, 0.57 * len(labels[-1] or INVALID) * _letter(cell)))
    return picture(right, height, "Confusion matrix", *parts)


def _cell(x: float, y: float, cell: float, share: float, count: int, title: str, right: bool) -> Markup:
    shade = 0.12 + 0.88 * share
    kind = "right" if right else "wrong"
    square = tag(
        "rect", tag("title", title), x=x + 1, y=y + 1, width=cell - 2, height=cell - 2, rx=min(5.0, cell / 6),
        fill_opacity=shade, class_=f"cell {kind}",
    )  # fmt: skip
    if cell < 20:
        return square
    return square + text(
        x + cell / 2, y + cell / 2 + 4.5, str(count), "middle", "count strong" if shade > 0.55 else "count"
    )


def _background(left: float, top: float, cell: float, rows: int, columns: int) -> Markup:
    right, bottom = left + columns * cell, top + rows * cell
    plate = tag("rect", x=left, y=top, width=columns * cell, height=rows * cell, rx=6, class_="plate")
    across = [top + each * cell for each in range(1, rows)]
    down = [left + each * cell for each in range(1, columns)]
    return Markup("").join([
        plate,
        *(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid") for y in across),
        *(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid") for x in down),
    ])  # fmt: skip


def _names(labels: list[str | None], left: float, top: float, cell: float, upright: bool) -> list[Markup]:
    """Row names on the left, column names on top, slanted or (when the columns are narrow) upright."""
    font = f"font-size:{min(12.0, cell * 0.85):.1f}px"
    found = []
    for index, label in enumerate(labels):
        middle = (index + 0.5) * cell
        if label is not None:
            y = top + middle + 4
            found.append(tag("text", label, x=left - 8, y=y, text_anchor="end", class_="label", style=font))
        turn = f"translate({left + middle + 4:.1f} {top - 8:.1f}) rotate({-90 if upright else -55})"
        found.append(tag("text", label or INVALID, transform=turn, class_="label", style=font))
    return found


def _letter(cell: float) -> float:
    """Width of an average letter at the names' font size."""
    return min(12.0, cell * 0.85) * 0.58
