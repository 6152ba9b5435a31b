"""The confusion matrix as a heat map: rows are the right labels, columns the answers."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from tunesmith.page.svg import picture, tag, text
from tunesmith.types.report import Confusion, Contestant

__all__ = ["Grid", "heatmap"]

AREA = 560.0
INVALID = "(no known label)"


class Grid(NamedTuple):
    """Where things stand: `columns` are labels (and None for invalid answers), the first `rows` of them rows too."""

    columns: tuple[str | None, ...]
    rows: int
    cell: float
    left: float
    top: float

    @property
    def upright(self) -> bool:
        """Whether columns are so narrow that their names stand upright instead of slanted."""
        return self.cell < 22

    @property
    def letter(self) -> float:
        """Width of an average letter of the names."""
        return 0.58 * self.font

    @property
    def font(self) -> float:
        """Size of the names."""
        return min(12.0, self.cell * 0.85)


def heatmap(contestant: Contestant) -> Markup:
    """Cells shaded by their share of the row; the diagonal (right answers) in another colour than errors.

    Up to 28 labels carry their counts; beyond that a cell shows its figures when pointed at. Empty without labels.
    """
    if not contestant.classes:
        return Markup("")
    grid = _grid(contestant)
    support = {each.label: each.support for each in contestant.classes}
    cells = [_cell(grid, found, support[found.reference]) for found in contestant.confusions]
    overhang = 8.0 if grid.upright else max(40.0, 0.57 * len(grid.columns[-1] or INVALID) * grid.letter)
    width = grid.left + grid.cell * len(grid.columns) + overhang
    height = grid.top + grid.cell * grid.rows + 6
    return picture(width, height, "Confusion matrix", _background(grid), *cells, *_names(grid))


def _grid(contestant: Contestant) -> Grid:
    labels = tuple(each.label for each in contestant.classes)
    some_invalid = any(cell.predicted is None for cell in contestant.confusions)
    columns = (*labels, None) if some_invalid else labels
    cell = min(44.0, max(9.0, AREA / len(columns)))
    bare = Grid(columns, len(labels), cell, 0, 0)
    longest = min(200.0, max(len(label or INVALID) for label in columns) * bare.letter)
    return bare._replace(left=12 + longest, top=14 + (longest if bare.upright else 0.82 * longest))


def _cell(grid: Grid, found: Confusion, support: int) -> Markup:
    x = grid.left + grid.columns.index(found.predicted) * grid.cell
    y = grid.top + grid.columns.index(found.reference) * grid.cell
    shade = 0.12 + 0.88 * found.count / max(1, support)
    title = f"{found.reference} answered as {found.predicted or INVALID}: {found.count} of {support}"
    side = grid.cell - 2
    kind = "right" if found.reference == found.predicted else "wrong"
    square = tag(
        "rect", tag("title", title), x=x + 1, y=y + 1, width=side, height=side, rx=min(5.0, grid.cell / 6),
        fill_opacity=shade, class_=f"cell {kind}",
    )  # fmt: skip
    if grid.cell < 20:
        return square
    middle = grid.cell / 2
    ink = "count strong" if shade > 0.55 else "count"
    return square + text(x + middle, y + middle + 4.5, str(found.count), "middle", ink)


def _background(grid: Grid) -> Markup:
    width, height = len(grid.columns) * grid.cell, grid.rows * grid.cell
    right, bottom = grid.left + width, grid.top + height
    across = [grid.top + each * grid.cell for each in range(1, grid.rows)]
    down = [grid.left + each * grid.cell for each in range(1, len(grid.columns))]
    return Markup("").join([
        tag("rect", x=grid.left, y=grid.top, width=width, height=height, rx=6, class_="plate"),
        *(tag("line", x1=grid.left, x2=right, y1=y, y2=y, class_="grid") for y in across),
        *(tag("line", x1=x, x2=x, y1=grid.top, y2=bottom, class_="grid") for x in down),
    ])  # fmt: skip


def _names(grid: Grid) -> list[Markup]:
    """Row names on the left, column names on top."""
    font = f"font-size:{grid.font:.1f}px"
    turn = -90 if grid.upright else -55
    found = []
    for index, label in enumerate(grid.columns):
        middle = (index + 0.5) * grid.cell
        if label is not None:
            y = grid.top + middle + 4
            found.append(tag("text", label, x=grid.left - 8, y=y, text_anchor="end", class_="label", style=font))
        place = f"translate({grid.left + middle + 4:.1f} {grid.top - 8:.1f}) rotate({turn})"
        found.append(tag("text", label or INVALID, transform=place, class_="label", style=font))
    return found
