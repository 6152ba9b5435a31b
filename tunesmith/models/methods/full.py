"""Full fine-tuning: every weight of the base model is trained."""

from __future__ import annotations

from typing import Any

from tunesmith.models.whole_weights import WholeWeights

__all__ = ["Full"]


class Full(WholeWeights):
    """All weights are trained; the start is the base itself. The most memory and the most to keep, and more can change.

    Choose it when a low-rank change is not enough: a new language, much data, a small base. It takes a learning rate
    about ten times smaller than LoRA's ("LoRA Without Regret", Schulman et al. 2025): 5e-5 is a good first try. Costs
    a gradient and two moments per weight, a copy of the start, and a saved model as large as the base; with
    `precision: bfloat16` changes below 1/256 of a weight are rounded away, so prefer float32.
    `embeddings: false` leaves the token embeddings (and an output head tied to them) as they are.
    """

    embeddings: bool = True

    def frozen(self, model: Any) -> frozenset[int]:
        """The token embeddings when they are to stay, else nothing."""
        return frozenset(() if self.embeddings else map(id, model.get_input_embeddings().parameters()))
