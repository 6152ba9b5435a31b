"""What a user may ask of `tunesmith decide` beside the recipe."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tunesmith.types.base import Value
from tunesmith.types.fields import Positive

__all__ = ["DecideOptions", "Prices"]

Amount = Positive | None


class Prices(Value):
    """Prices in one currency: of a million tokens of the prompted model, and of an hour of the machine that serves
    and tunes. None: not known.
    """

    prompt_tokens: Amount = None
    answer_tokens: Amount = None
    machine_hour: Amount = None
    calls_per_day: Amount = None


class DecideOptions(Value):
    """`rows` takes at most so many rows of the validation and of the test split (0: all), drawn once with a seed.

    `tune_rows` is the largest subset that is tuned on, `shares` the parts of it below; all make `passes` passes (0: the
    recipe's epochs), as a tune on all rows would. `chains` draws the nested subsets so many times. `wanted` is the
    score that is good enough (None: what the gate's min_score asks for). Two scores within `margin` count as the same.
    `budget_minutes` ends the measuring (0: never); what is left out is said.
    """

    metric: str = ""
    prompts: tuple[str, ...] = ()
    documents: Path | None = None
    embeddings: str = ""
    shots: tuple[int, ...] = (2, 8)
    chunks: tuple[int, ...] = (1, 3)
    rows: int = Field(default=0, ge=0)
    tune_rows: int = Field(default=1600, ge=8)
    shares: tuple[float, ...] = (0.5, 0.25, 0.125)
    passes: int = Field(default=0, ge=0)
    chains: int = Field(default=1, ge=1)
    wanted: float | None = None
    margin: float = Field(default=0.02, ge=0.0)
    prices: Prices = Prices()
    budget_minutes: float = Field(default=0.0, ge=0.0)
    seed: int = Field(default=0, ge=0)
