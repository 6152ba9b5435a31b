"""Distillation on logits: learn a teacher's whole next-token distribution, not only the token it would say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import Tensor

from tunesmith.errors import ModelError
from tunesmith.models.adapter import adapter_digest
from tunesmith.models.weights import resolve_base
from tunesmith.train.divergence import Divergence
from tunesmith.train.objective import Group, Needs, Objective, Scored, TeacherSpec, rows_of
from tunesmith.types.recipe import ModelSpec

__all__ = ["Distill"]


class Distill(Objective):
    """loss = sum_k w_k ((1 - label_weight) T^2 D_k - label_weight log p(token_k)) / sum_k w_k

    over all trained tokens of the rows, with D the divergence at temperature T between the distributions of `teacher`
    (a base as in model.base, with the adapter folder `teacher_adapter` when given) and of the model: forward,
    KL(teacher || model), which covers all that the teacher finds likely (Hinton et al. 2015, arXiv:1503.02531);
    reverse, KL(model || teacher), which keeps to what it finds likeliest (Gu et al. 2023, arXiv:2306.08543). `top_k`
    above 0 compares both on the teacher's k likeliest tokens alone, renormalised over these. Teacher and model must
    have the same vocabulary, compared token by token; the teacher reads the model's rendering of each row, in the
    same prefix tree.

    By hand: two tokens, teacher (1/2, 1/2), model (3/4, 1/4): forward ln 2 - (ln 3) / 2 = 0.1438; reverse
    3/4 ln 3 - ln 2 = 0.1308.
    """

    teacher: str
    teacher_adapter: str | None = None
    divergence: Literal["forward", "reverse"] = "forward"
    temperature: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    top_k: int = Field(default=0, ge=0)
    label_weight: float = Field(default=0.0, ge=0.0, lt=1.0)

    @property
    def needs(self) -> Needs:
        """The teacher's distributions beside the model's."""
        how = Divergence(self.divergence == "reverse", self.temperature, self.top_k)
        adapter = None if self.teacher_adapter is None else Path(self.teacher_adapter).expanduser()
        return Needs(teacher=TeacherSpec(self.teacher, adapter), divergence=how)

    def depends_on(self, home: Path) -> tuple[str, ...]:
        """Digests of the teacher's weights."""
        base = resolve_base(ModelSpec(base=self.teacher), home).digest
        if self.teacher_adapter is None:
            return (base,)
        return (base, adapter_digest(Path(self.teacher_adapter).expanduser()))

    def loss(self, scored: Scored, groups: Sequence[Group], normaliser: float) -> Tensor:
        """Scalar loss of one piece of the step."""
        losses = (1.0 - self.label_weight) * _divergence(scored)
        if self.label_weight:
            losses = losses - self.label_weight * scored.logprobs
        return (losses * scored.weights).sum() / normaliser

    def amount(self, groups: Sequence[Group]) -> float:
        """Sum of the loss weights."""
        return sum(sum(row.loss_weights) for row in rows_of(groups))

    def metrics(self, scored: Scored, groups: Sequence[Group]) -> dict[str, float]:
        """Weighted means: `divergence`, and `label_loss`, what sft would show."""
        total = scored.weights.sum()
        return {
            "divergence": float((_divergence(scored).detach() * scored.weights).sum() / total),
            "label_loss": -float((scored.logprobs.detach() * scored.weights).sum() / total),
        }


def _divergence(scored: Scored) -> Tensor:
    if scored.divergence is None:
        raise ModelError("The distill objective needs a teacher's distributions.")
    return scored.divergence
