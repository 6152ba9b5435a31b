"""Prompt tuning: learned embeddings in front of the input (Lester et al. 2021, arXiv:2104.08691)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from tunesmith.models.adapter import Adapter
from tunesmith.models.prompting import VirtualMethod
from tunesmith.models.virtual import PromptVectors
from tunesmith.models.virtual_adapters import prompt_adapter

__all__ = ["Prompt"]


class Prompt(VirtualMethod):
    """The fewest trained numbers of all: `tokens` embeddings in front of every row (Lester et al. 2021).

    Choose it for many small tasks on one large base; small bases gain more from other methods. `text` starts the
    embeddings as those of a text (repeated or cut to `tokens`); else `start_from` gives random tokens of the vocabulary
    or normal noise of the embeddings' own size. It starts as a prompt, not as the base model. Cost: a row has `tokens`
    more positions, computed once for a whole step in training and once for all requests by the engine. Takes a far
    higher learning rate than LoRA: 0.01 to 0.3.
    """

    start_from: Literal["vocabulary", "noise"] = "vocabulary"

    @model_validator(mode="after")
    def _one_start(self) -> Prompt:
        if self.text and self.start_from == "noise":
            raise ValueError("text and start_from: noise are two different starts")
        return self

    def wrap(self, model: Any, seed: int) -> Any:
        """The model with trained embeddings for virtual tokens."""
        weight = model.get_input_embeddings().weight.detach().float()
        if self.start_from == "noise":
            generator = torch.Generator().manual_seed(seed)
            vectors = torch.randn(self.tokens, weight.shape[1], generator=generator) * weight.std()
        else:
            vectors = weight[torch.tensor(self._start_tokens(model, seed))].clone()
        return self._install(model, PromptVectors(vectors))

    def export(self, model: Any, state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Adapter:
        """The embeddings in peft's format."""
        (vectors,) = state.values()
        return prompt_adapter(model, vectors)
