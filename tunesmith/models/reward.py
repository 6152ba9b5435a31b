"""A trained reward model: gives conversations a score, higher for better answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from tunesmith.models.attach import attach
from tunesmith.models.device import CPU
from tunesmith.models.score_head import load_score_head
from tunesmith.models.template import Renderer
from tunesmith.models.virtual import virtual_ids, virtual_tokens
from tunesmith.models.weights import load_base
from tunesmith.types.conversation import Conversation

__all__ = ["RewardModel"]


class RewardModel:
    """The base in `base` with the adapter and score head in `adapter` (both folders).

    Raises ModelError when the folder has no adapter or no score head, or they do not fit the base.
    """

    def __init__(
        self,
        base: Path,
        adapter: Path,
        precision: Literal["float32", "bfloat16"] = "float32",
        device: torch.device = CPU,
    ) -> None:
        self._renderer = Renderer(base)
        self._model = attach(load_base(base, precision, device=device), adapter)
        self._head = load_score_head(self._model, adapter)

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """One score per conversation; only differences between answers to the same prompt mean something."""
        before = virtual_ids(virtual_tokens(self._model))
        rows = [self._renderer.render(conversation).after(before) for conversation in conversations]
        return [self.score_ids(row.token_ids) for row in rows]

    def score_ids(self, token_ids: Sequence[int]) -> float:
        """The score of one rendered conversation (with the adapter's virtual tokens), read at its last token."""
        inner = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        with torch.no_grad():
            ids = torch.tensor([list(token_ids)], device=self._head.weight.device)
            states = getattr(inner, inner.base_model_prefix)(input_ids=ids, use_cache=False).last_hidden_state
            return float(self._head(states[0, -1].float()))
