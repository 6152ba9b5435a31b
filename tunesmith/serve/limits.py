"""Limits of a key: requests and tokens a minute, and tokens in all.

Each process counts by itself what happens in a minute; what was spent in all is kept in the database.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from tunesmith.serve.failures import ApiError
from tunesmith.types.key import Key, KeyLimits

__all__ = ["Account", "Accounts", "Bucket"]

Clock = Callable[[], float]


class Bucket:
    """Holds at most `limit`, and gains `limit` a minute. It may be overdrawn: then nothing is given until it is full
    enough again. Times in seconds.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self.limit = limit
        self._clock = clock
        self._level = float(limit)
        self._at = clock()

    def level(self) -> float:
        """What is in it now."""
        now = self._clock()
        self._level = min(self.limit, self._level + max(0.0, now - self._at) * self.limit / 60)
        self._at = now
        return self._level

    def take(self, amount: float) -> None:
        """Take `amount`, also more than there is."""
        self._level = self.level() - amount

    def seconds_until(self, amount: float) -> float:
        """How long until it holds `amount`."""
        return max(0.0, (amount - self.level()) * 60 / self.limit)


class Account:
    """What one key has used of its limits, as far as this process knows."""

    def __init__(self, key: Key, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._at_first = key.tokens_spent
        self._here = 0
        self.unsaved = 0
        self.key = key
        self._requests, self._tokens = self._buckets(key.limits)

    def update(self, key: Key) -> None:
        """Go on with the key as it is stored now."""
        if key.limits != self.key.limits:
            self._requests, self._tokens = self._buckets(key.limits)
        self.key = key

    def _buckets(self, limits: KeyLimits) -> tuple[Bucket | None, Bucket | None]:
        wanted = (limits.requests_per_minute, limits.tokens_per_minute)
        requests, tokens = (Bucket(limit, self._clock) if limit is not None else None for limit in wanted)
        return requests, tokens

    @property
    def spent(self) -> int:
        """Tokens in all: what this process knows of itself, or what is stored, whichever is more."""
        return max(self._at_first + self._here, self.key.tokens_spent + self.unsaved)

    def charge(self, tokens: int) -> None:
        """Tokens were used."""
        self._here += tokens
        self.unsaved += tokens
        if self._tokens is not None:
            self._tokens.take(tokens)

    def admit_request(self) -> None:
        """One more request. Raises ApiError 429 when it is one too many."""
        if self._requests is not None:
            _require(self._requests, 1, "requests")
            self._requests.take(1)

    def admit_tokens(self) -> None:
        """The request may use tokens. Raises ApiError 429 when none are left, in this minute or for good."""
        budget = self.key.limits.token_budget
        if budget is not None and self.spent >= budget:
            raise ApiError(
                429,
                f"This key has spent its budget: {self.spent} of {budget} tokens. Ask an administrator for another.",
                kind="insufficient_quota",
                code="insufficient_quota",
                headers={"x-should-retry": "false"},
            )
        if self._tokens is not None:
            _require(self._tokens, 1, "tokens")

    def headers(self) -> dict[str, str]:
        """How much is left, as OpenAI's headers say it."""
        shown: dict[str, str] = {}
        for name, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                shown[f"x-ratelimit-limit-{name}"] = str(bucket.limit)
                shown[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(bucket.level())))
                shown[f"x-ratelimit-reset-{name}"] = f"{bucket.seconds_until(bucket.limit):.3f}s"
        return shown


class Accounts:
    """The accounts of the keys that were used here."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, Account] = {}

    def of(self, key: Key) -> Account:
        """The account of `key`."""
        found = self._accounts.get(key.id)
        if found is None:
            found = self._accounts[key.id] = Account(key, self._clock)
        else:
            found.update(key)
        return found

    def take_unsaved(self) -> dict[str, int]:
        """Key id -> tokens that are not yet stored; from now on they count as stored."""
        taken = {identity: account.unsaved for identity, account in self._accounts.items() if account.unsaved}
        for identity in taken:
            self._accounts[identity].unsaved = 0
        return taken

    def give_back(self, taken: dict[str, int]) -> None:
        """They could not be stored."""
        for identity, tokens in taken.items():
            self._accounts[identity].unsaved += tokens


def _require(bucket: Bucket, amount: int, unit: str) -> None:
    wait = bucket.seconds_until(amount)
    if wait > 0:
        raise ApiError(
            429,
            f"Rate limit reached for {unit}: {bucket.limit} a minute. Try again in {wait:.1f} seconds.",
            kind="rate_limit_error",
            code="rate_limit_exceeded",
            headers={"retry-after": str(math.ceil(wait))},
        )
