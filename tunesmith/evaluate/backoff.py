"""Asking a server again: which failures pass, and how long to wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from tunesmith.errors import EvaluationError
from tunesmith.types.base import Value

__all__ = ["Backoff", "Passing", "retry_after_seconds"]

Result = TypeVar("Result")


class Passing(Exception):
    """A failure that may pass: the server is busy, broken or gone. `wait_seconds` is what it asked for."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class Backoff(Value):
    """Ask again up to `retries` times.

    Before try n (from 1) it waits what the server asked for, else a random part between a half and the whole of
    min(`longest_seconds`, `first_seconds` * 2^(n - 1)): 0.5, 1, 2, 4 ... Random, so that many clients do not come back
    together.
    """

    retries: int = 5
    first_seconds: float = 0.5
    longest_seconds: float = 60.0

    def wait_seconds(self, attempt: int, asked: float | None) -> float:
        """Seconds before try number `attempt` (from 1)."""
        if asked is not None:
            return min(asked, self.longest_seconds)
        whole = min(self.longest_seconds, self.first_seconds * 2.0 ** (attempt - 1))
        return whole * random.uniform(0.5, 1.0)

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of `work`, tried again while it raises Passing; EvaluationError with the last reason."""
        for attempt in range(1, self.retries + 2):
            try:
                return await work()
            except Passing as error:
                trouble = error
            except httpx.TransportError as error:
                trouble = Passing(f"{type(error).__name__}: {error}")
            if attempt <= self.retries:
                await asyncio.sleep(self.wait_seconds(attempt, trouble.wait_seconds))
        raise EvaluationError(f"{trouble} (asked {self.retries + 1} times)")


def retry_after_seconds(header: str | None) -> float | None:
    """What a Retry-After header asks for: seconds, or a date (RFC 9110, section 10.2.3); None when it says nothing."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass  # not a number: it may be a date
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())
