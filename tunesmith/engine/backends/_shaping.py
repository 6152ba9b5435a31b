"""What a request does to the logits before a token is chosen: penalties, biases, and the constraint's mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tunesmith.engine.engine import Sampling
from tunesmith.errors import EngineError

if TYPE_CHECKING:
    from llguidance import LLMatcher

__all__ = ["Shaping", "shaping_of"]


class Shaping:
    """The shaping of one answer: it remembers the tokens said so far and where in the grammar they lead."""

    def __init__(self, sampling: Sampling, matcher: LLMatcher | None) -> None:
        self._frequency = sampling.frequency_penalty
        self._presence = sampling.presence_penalty
        self._biased = torch.tensor(list(sampling.logit_bias), dtype=torch.long)
        self._biases = torch.tensor(list(sampling.logit_bias.values()), dtype=torch.float32)
        self._matcher = matcher
        self._counts: dict[int, int] = {}

    def apply(self, logits: Tensor) -> Tensor:
        """Shaped logits [V], a copy. With c_j the occurrences of token j in the answer so far, as OpenAI defines it:
        logit_j - frequency_penalty c_j - presence_penalty [c_j > 0] + logit_bias_j; -inf where j is forbidden.

        Raises EngineError when no token can follow.
        """
        shaped = logits.clone()
        if self._counts:
            said = torch.tensor(list(self._counts))
            counts = torch.tensor(list(self._counts.values()), dtype=shaped.dtype)
            shaped[said] -= self._frequency * counts + self._presence
        if len(self._biased):
            shaped[self._biased] += self._biases
        if self._matcher is not None:
            shaped.masked_fill_(_forbidden(self._matcher, len(shaped)), -torch.inf)
        return shaped

    def take(self, token: int) -> None:
        """The token that was chosen; never an end-of-turn token."""
        if self._frequency or self._presence:
            self._counts[token] = self._counts.get(token, 0) + 1
        if self._matcher is not None and not self._matcher.consume_token(token):
            raise EngineError(f"The constraint cannot be followed: {self._matcher.get_error()}")


def shaping_of(sampling: Sampling, matcher: LLMatcher | None) -> Shaping | None:
    """The shaping that `sampling` asks for; None when the model's own logits decide."""
    if matcher is None and not (sampling.frequency_penalty or sampling.presence_penalty or sampling.logit_bias):
        return None
    return Shaping(sampling, matcher)


def _forbidden(matcher: LLMatcher, vocabulary: int) -> Tensor:
    """Boolean [V]: the tokens that the grammar does not take next."""
    packed = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
    allowed = np.unpackbits(packed, count=vocabulary, bitorder="little")
    if matcher.is_error() or not allowed.any():
        raise EngineError(f"The constraint cannot be followed: {matcher.get_error() or 'no token can come next'}.")
    return torch.from_numpy(allowed == 0)
