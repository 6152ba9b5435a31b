"""What calls cost, and when a tune has paid for itself."""

from __future__ import annotations

from tunesmith.decide.evidence import Arm, BreakEven, Cost
from tunesmith.decide.options import Prices

__all__ = ["break_even", "cost_of", "training_cost"]

CALLS = 1000
HOUR = 3600.0
MILLION = 1e6


def cost_of(arm: Arm, prices: Prices) -> Cost:
    """What 1,000 calls of `arm` take. Money: of tokens where the arm is a prompted model with prices of tokens, else
    of the machine's time where an hour has a price.

    A prompt of 500 tokens and an answer of 10 at 1 and 2 per million: 1000 * (500 * 1 + 10 * 2) / 1e6 = 0.52.
    """
    machine = CALLS * arm.seconds / arm.rows
    money = None if prices.machine_hour is None else machine / HOUR * prices.machine_hour
    if arm.family != "tuned" and prices.prompt_tokens is not None and prices.answer_tokens is not None:
        tokens = arm.prompt_tokens * prices.prompt_tokens + arm.answer_tokens * prices.answer_tokens
        money = CALLS * tokens / MILLION
    per_day = None if money is None or prices.calls_per_day is None else money * prices.calls_per_day / CALLS
    return Cost(
        arm=arm.name,
        prompt_tokens=arm.prompt_tokens,
        answer_tokens=arm.answer_tokens,
        machine_seconds=machine,
        money=money,
        money_per_day=per_day,
    )


def training_cost(seconds: float, prices: Prices) -> float | None:
    """Money for `seconds` of tuning on the machine; None without its price."""
    return None if prices.machine_hour is None else seconds / HOUR * prices.machine_hour


def break_even(tuned: Cost, prompted: Cost, tuning_seconds: float, prices: Prices) -> BreakEven:
    """Calls after which what the tune saves per call has made up for `tuning_seconds` of training.

    Saving 0.5 per 1,000 calls, a tune that cost 2 is paid after 4,000 calls: in 4 days at 1,000 a day.
    """
    spent = training_cost(tuning_seconds, prices)
    in_money = spent is not None and tuned.money is not None and prompted.money is not None
    if in_money:
        saved = (prompted.money or 0.0) - (tuned.money or 0.0)
    else:
        spent, saved = tuning_seconds, prompted.machine_seconds - tuned.machine_seconds
    calls = CALLS * (spent or 0.0) / saved if saved > 0 else None
    days = None if calls is None or prices.calls_per_day is None else calls / prices.calls_per_day
    return BreakEven(
        against=prompted.arm,
        unit="money" if in_money else "machine seconds",
        spent=spent or 0.0,
        saved_per_thousand=saved,
        calls=calls,
        days=days,
    )
