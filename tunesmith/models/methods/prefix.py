"""Prefix tuning: learned keys and values in every layer, trained through an MLP (Li & Liang 2021, arXiv:2101.00190)."""

from __future__ import annotations

from pydantic import Field

from tunesmith.models.prompting import DeepPrompts

__all__ = ["Prefix"]


class Prefix(DeepPrompts):
    """`tokens` virtual tokens whose keys and values are learned in every layer (Li & Liang 2021, arXiv:2101.00190).

    Choose it for a task that one instruction could almost describe, and where the base must stay as it is. An MLP of
    width `hidden` gives the keys and values, which makes training steadier (section 4.3); it is folded away when saved.
    With `reparameterise: false` they are trained themselves: that is p-tuning v2 by another name, the two methods
    differ in their defaults only. It starts as a prompt of random numbers, not as the base. Cost: `tokens` more
    positions in each row, computed once for a whole step; the MLP has the most parameters while training.
    Learning rate: 1e-3 to 1e-2.
    """

    reparameterise: bool = True
    tokens: int = Field(default=10, ge=1, le=1024)
