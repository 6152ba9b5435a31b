"""Parts of long lists: rows of a table that count up by `number`, read from where the last part ended.

In every list an id to read on after (`after`) that is none of its items is an UnknownCursor, whatever the list is of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from tunesmith.errors import NotFound

__all__ = ["Slice", "UnknownCursor", "Window", "cursor", "slice_of", "windowed"]

Item = TypeVar("Item")


class UnknownCursor(NotFound):
    """No item of the list has the id that the list was to go on after."""


@contextmanager
def cursor(after: str) -> Iterator[None]:
    """The item `after` is looked for inside the block: NotFound becomes UnknownCursor, which names the parameter."""
    try:
        yield
    except NotFound:
        raise UnknownCursor(f"Invalid value for 'after': no item of this list has the id {after!r}.") from None


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
    query: Select[Any],
    table: Any,
    window: Window,
    row_of: Callable[[str], Any],
    order: InstrumentedAttribute[int] | None = None,
) -> Select[Any]:
    """`query` over `table` in the order of the window (by `order` first, where it is given), behind the row that
    `row_of` finds for `window.after`. Raises UnknownCursor when it finds none.
    """
    columns = [table.number] if order is None else [order, table.number]
    if window.after is not None:
        with cursor(window.after):
            row = row_of(window.after)
        place = [getattr(row, column.key) for column in columns]
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
