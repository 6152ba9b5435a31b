"""Lists as OpenAI's clients page through them: `limit` items after the one whose id is `after`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Query

from tunesmith.errors import NotFound
from tunesmith.store.windows import cursor
from tunesmith.types.base import Value

__all__ = ["After", "Limit", "Page", "page_of"]

Limit = Annotated[int, Query(ge=1, le=1000)]
"""A parameter of our own lists: how many items."""

After = Annotated[str | None, Query()]
"""A parameter of our own lists: the id of the item before the first."""

Item = TypeVar("Item")


class Page(Value, Generic[Item]):
    """One page of a list. Clients ask on with `after=last_id` while `has_more`."""

    object: Literal["list"] = "list"
    data: tuple[Item, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


def page_of(items: Sequence[Item], limit: int, after: str | None, identity: Callable[[Item], str]) -> Page[Item]:
    """The page of `items` (all of them, in the order of the list) that begins after the item with the id `after`.

    Raises UnknownCursor when no item has that id: an ignored cursor would send clients round for ever.
    """
    start = 0
    if after is not None:
        with cursor(after):
            places = [index for index, item in enumerate(items) if identity(item) == after]
            if not places:
                raise NotFound()
        start = places[0] + 1
    data = tuple(items[start : start + limit])
    ids = [identity(item) for item in data]
    return Page[Item](
        data=data,
        has_more=start + limit < len(items),
        first_id=ids[0] if ids else None,
        last_id=ids[-1] if ids else None,
    )
