"""Embeddings of the embedded engine: the mean of a text's last hidden states, computed between the steps of answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tunesmith.engine.backends._attention import KVPool, PackedStep, Segment
from tunesmith.engine.backends._packed import PackedModel
from tunesmith.models.device import device_of
from tunesmith.models.virtual import virtual_ids

__all__ = ["Embedding"]


class Embedding:
    """A text on its way to its vector. Everything but the making runs in the thread that owns the model.

    Its keys and values lie in a pool of its own, so the running answers keep theirs. The virtual tokens of an adapter
    are read and not counted in the mean.
    """

    def __init__(self, model: PackedModel, token_ids: Sequence[int], adapter: str | None, virtual: int) -> None:
        self._model = model
        self._ids = [*virtual_ids(virtual), *token_ids]
        self._adapter = adapter
        self._virtual = virtual
        self._pool = KVPool(len(self._ids))
        self._computed = 0
        self._sum: Tensor | None = None

    def advance(self, tokens: int) -> bool:
        """Compute at most `tokens` more tokens; True when that was the rest of them."""
        ids = self._ids[self._computed : self._computed + tokens]
        states = self._states(ids)[max(0, self._virtual - self._computed) :]
        self._computed += len(ids)
        part = states.float().sum(dim=0)
        self._sum = part if self._sum is None else self._sum + part
        return self._computed == len(self._ids)

    def vector(self) -> tuple[float, ...]:
        """The mean [H] of the last hidden states, scaled to length 1."""
        assert self._sum is not None
        return tuple(normalize(self._sum, dim=0).tolist())

    def _states(self, ids: list[int]) -> Tensor:
        """Last hidden states [N, H] of the next tokens `ids`, after the final norm."""
        ((module, _),) = self._model.adapters.forwards([(self._adapter, len(ids))])
        backbone = getattr(module, module.base_model_prefix)
        end, device = self._computed + len(ids), device_of(self._model.model)
        # OPT's language model calls the decoder inside.
        return getattr(backbone, "decoder", backbone)(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.arange(self._computed, end, device=device)[None],
            use_cache=False,
            packed_step=PackedStep(self._pool, [Segment(0, len(ids), 0, end)], device),
        ).last_hidden_state[0]
