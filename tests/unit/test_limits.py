"""What a key may use, by arithmetic on a clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tunesmith.engine.engine import GenerationRequest, TokenEvent
from tunesmith.serve.caller import LOCAL
from tunesmith.serve.failures import ApiError
from tunesmith.serve.limits import Account, Accounts, Bucket
from tunesmith.serve.metering import Pending, metered
from tunesmith.serve.trail import TRAIL, Trail
from tunesmith.types.key import Key, KeyLimits


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def key(spent: int = 0, **limits: int) -> Key:
    return Key(id="key_1", hint="abcd", created_at=1, tokens_spent=spent, limits=KeyLimits(**limits))


def test_a_bucket_fills_at_its_rate_and_may_be_overdrawn() -> None:
    clock = Clock()
    bucket = Bucket(60, clock)
    bucket.take(61)
    assert bucket.level() == -1
    assert bucket.seconds_until(1) == 2.0
    clock.now += 1.5
    assert bucket.level() == pytest.approx(0.5)
    clock.now -= 50  # a clock that goes back gives nothing and takes nothing
    assert bucket.level() == pytest.approx(0.5)
    clock.now += 1_000
    assert bucket.level() == 60


def test_requests_are_refused_with_the_time_to_wait() -> None:
    clock = Clock()
    account = Account(key(requests_per_minute=2), clock)
    account.admit_request()
    account.admit_request()
    with pytest.raises(ApiError) as caught:
        account.admit_request()
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert caught.value.headers == {"retry-after": "30"}
    clock.now += 30
    account.admit_request()
    assert account.headers() == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "60.000s",
    }


def test_tokens_are_a_debt_that_a_minute_pays_off() -> None:
    clock = Clock()
    account = Account(key(tokens_per_minute=60), clock)
    account.admit_tokens()
    account.charge(100)
    with pytest.raises(ApiError, match="tokens: 60 a minute"):
        account.admit_tokens()
    clock.now += 41
    account.admit_tokens()


def test_a_budget_counts_what_is_stored_and_what_is_not_yet() -> None:
    accounts = Accounts(Clock())
    account = accounts.of(key(spent=90, token_budget=100))
    account.charge(9)
    account.admit_tokens()
    account.charge(1)
    with pytest.raises(ApiError) as caught:
        account.admit_tokens()
    assert (caught.value.code, caught.value.kind) == ("insufficient_quota", "insufficient_quota")
    assert caught.value.headers == {"x-should-retry": "false"}
    taken = accounts.take_unsaved()
    assert taken == {"key_1": 10}
    assert accounts.of(key(spent=90, token_budget=200)).spent == 100  # an old reading of the key gives nothing back
    accounts.give_back(taken)
    assert accounts.take_unsaved() == {"key_1": 10}
    assert accounts.of(key(spent=130, token_budget=200)).spent == 130  # another server has charged it too


class Counted:
    """An engine whose answers have as many tokens as `max_tokens`."""

    async def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        for _ in range(request.sampling.max_tokens):
            await asyncio.sleep(0)
            yield TokenEvent(token_id=1, text="a", logprob=0.0)

    def adapters(self) -> tuple[str, ...]:
        return ("x",)


def request(tokens: int) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt_ids": (1, 2, 3), "sampling": {"max_tokens": tokens}})


def test_the_metered_engine_counts_and_bounds_what_is_pending() -> None:
    async def run() -> None:
        pending, inner = Pending(2), Counted()
        engine: Any = metered(inner, pending)  # type: ignore[arg-type]
        account = Account(key(), Clock())
        trail = Trail(LOCAL, account, "req_1")
        TRAIL.set(trail)
        first, second = engine.submit(request(4)), engine.submit(request(2))
        with pytest.raises(ApiError) as caught:
            engine.submit(request(1))
        assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "1")
        assert len([event async for event in first]) == 4
        assert pending.count == 1
        async for _ in second:
            break
        await second.aclose()
        engine.submit(request(1))  # nobody reads it
        gc.collect()
        assert pending.count == 0
        assert (trail.prompts.popitem()[1], trail.completion_tokens, account.spent) == (3, 5, 8)
        assert engine.adapters() == ("x",)

    asyncio.run(run())
