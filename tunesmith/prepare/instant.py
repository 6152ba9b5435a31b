"""Points in time as data files write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from tunesmith.errors import DataError, Problem

__all__ = ["instant"]


def instant(text: str, field: str) -> float:
    """Seconds since 1970 (UTC) of an ISO 8601 date or time (UTC when it names no zone), or of a number of seconds.

    Raises DataError naming `field`, the value and the form to write.
    """
    number = _number(text)
    if number is not None and math.isfinite(number):
        return number
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        fix = "write 2024-05-31, 2024-05-31T12:00:00+00:00, or seconds since 1970"
        raise DataError([Problem(f"{text!r} is no date or time", field=field, fix=fix)]) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float | None:
    """The number that `text` is, or None when it is none."""
    try:
        return float(text)
    except ValueError:
        return None
