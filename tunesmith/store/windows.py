"""Parts of long lists: rows of a table that count up by `number`, read from where the last part ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

__all__ = ["Slice", "Window", "slice_of", "windowed"]

Item = TypeVar("Item")


class Window(NamedTuple):
    """Which part of a list: at most `limit`, after the one with the id `after`, oldest first unless `descending`."""

    limit: int
    after: str | None = None
    descending: bool = False


class Slice(NamedTuple, Generic[Item]):
    """A part of a list, and whether more follows."""

    items: tuple[Item, ...]
    has_more: bool


def windowed(
    query: Select[Any], table: Any, window: Window, after: Any, order: InstrumentedAttribute[int] | None = None
) -> Select[Any]:
    """`query` over `table` in the order of the window (by `order` first, where it is given), behind the row `after`."""
    columns = [table.number] if order is None else [order, table.number]
    if after is not None:
        place = [getattr(after, column.key) for column in columns]
        query = query.where(_beyond(columns, place, window.descending))
    return query.order_by(*(column.desc() if window.descending else column for column in columns))


def slice_of(session: Session, query: Select[Any], window: Window, read: Callable[[str], Item]) -> Slice[Item]:
    """The window's part of the rows of a `windowed` query, each read from its `content`."""
    rows = session.scalars(query.limit(window.limit + 1)).all()
    return Slice(tuple(read(row.content) for row in rows[: window.limit]), len(rows) > window.limit)


def _beyond(columns: list[Any], place: list[int], descending: bool) -> ColumnElement[bool]:
    """Rows behind `place` in the order of `columns`."""
    last = columns[-1] < place[-1] if descending else columns[-1] > place[-1]
    if len(columns) == 1:
        return last
    first = columns[0] < place[0] if descending else columns[0] > place[0]
    return or_(first, and_(columns[0] == place[0], last))
