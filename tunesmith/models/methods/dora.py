"""DoRA: magnitude and direction of each weight are trained apart (Liu et al. 2024, arXiv:2402.09353)."""

from __future__ import annotations

from typing import Any

from tunesmith.models.low_rank import LowRank
from tunesmith.models.peft_library import PeftModel
from tunesmith.models.targets import inject

__all__ = ["Dora"]


class Dora(LowRank):
    """W' = m (W + (alpha / rank) B A) / ||W + (alpha / rank) B A||, one magnitude m per output (arXiv:2402.09353).

    Starts as a no-op: B is zero and m is the norm of W. Choose it when plain LoRA at a low rank falls short of full
    fine-tuning. It costs: each layer's norm is computed in every step (peft users report 1.5 to 2 times the time of
    LoRA), and it is served as a variant of the base rather than on the fast path. It can be merged.
    """

    def wrap(self, model: Any, seed: int) -> PeftModel:
        """The model with trainable adapters and magnitudes."""
        return inject(model, self.lora_config(model, use_dora=True), seed)
