"""What objectives on sampled completions share: their options, their tokens in one order, what is worth watching."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tunesmith.train.objective import Group, Needs, Objective, Scored, rows_of
from tunesmith.types.conversation import Rendered, Shape

__all__ = ["PolicyObjective", "advantages_of", "k3", "tokens_of"]


class PolicyObjective(Objective):
    """Policy gradients: answers are sampled from the model in training, graded, and the better ones made likelier.

    Each step samples anew and learns from it once, so ratios differ from 1 only by rounding and by the adapter's
    dropout, which sampling leaves out. Validation grades the greedy answer of each row, or with `validation_samples`
    above 1 the mean of so many drawn ones, each time with the same seeds.
    """

    shapes: ClassVar[tuple[Shape, ...]] = ("prompt",)

    completions: int = Field(default=8, ge=2)
    max_tokens: int = Field(default=128, ge=1)
    validation_samples: int = Field(default=1, ge=1)
    epsilon: float = Field(default=0.2, gt=0.0, lt=1.0)
    epsilon_high: float | None = Field(default=None, gt=0.0)
    beta: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)

    @property
    def needs(self) -> Needs:
        """Completions, and the start policy's view of their tokens where beta weighs it."""
        return Needs(
            completions=self.completions,
            max_tokens=self.max_tokens,
            start_tokens=self.beta > 0.0,
            validation_completions=self.validation_samples,
        )

    def complete(self, groups: Sequence[Group], logprobs: Callable[[Sequence[Rendered]], Tensor]) -> Sequence[Group]:
        """The groups with an advantage for each completion."""
        advantages = self.advantages(groups)
        return [group._replace(advantages=own) for group, own in zip(groups, advantages, strict=True)]

    @abstractmethod
    def advantages(self, groups: Sequence[Group]) -> list[tuple[float, ...]]:
        """How much better than expected each completion did, over one whole step: [completions] for each group."""

    def yardstick(self) -> tuple[Any, ...]:
        """The negative mean reward of answers of so many tokens at most, whatever the policy learns by."""
        drawn = (self.validation_samples,) if self.validation_samples > 1 else ()
        return "reward", self.max_tokens, *drawn

    def amount(self, groups: Sequence[Group]) -> float:
        """Number of completions."""
        return float(len(rows_of(groups)))

    def clipped(self, log_ratio: Tensor, advantages: Tensor) -> Tensor:
        """min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon_high) A), element by element (Schulman et al. 2017,
        arXiv:1707.06347, eq. 7).
        """
        ratio = log_ratio.exp()
        high = self.epsilon if self.epsilon_high is None else self.epsilon_high
        return torch.minimum(ratio * advantages, ratio.clamp(1.0 - self.epsilon, 1.0 + high) * advantages)

    def metrics(self, scored: Scored, groups: Sequence[Group]) -> dict[str, float]:
        """`sampling_gap`: mean difference between the tokens' log-probabilities now and when they were sampled."""
        now = scored.logprobs.detach()[scored.token]
        found = {"sampling_gap": float((now - tokens_of(groups, "sampled", now)).abs().mean())}
        if self.beta > 0.0:
            found["kl"] = float(k3(now, tokens_of(groups, "start", now)).mean())
        return found


def tokens_of(groups: Sequence[Group], field: str, like: Tensor) -> Tensor:
    """[P] the groups' values of every trained token of every row, in the order of `Scored.token`."""
    values = [value for group in groups for value in getattr(group, field)]
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def advantages_of(groups: Sequence[Group], like: Tensor) -> Tensor:
    """[S] the groups' advantages, one per row."""
    return torch.tensor([value for group in groups for value in group.advantages], dtype=like.dtype, device=like.device)


def k3(logprobs: Tensor, start: Tensor) -> Tensor:
    """exp(q - p) - (q - p) - 1 of log-probabilities p and those of the start policy q: never negative, and its mean
    over samples of p is KL(p || q) (Schulman 2020, http://joschu.net/blog/kl-approx.html).
    """
    difference = start - logprobs
    return difference.exp() - difference - 1.0
