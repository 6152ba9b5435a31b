"""Virtual tokens: learned vectors that stand in front of every row, as token ids that no tokenizer has.

An adapter with P virtual tokens reads them as the ids -P, ..., -1 before the first real token, in training, in
evaluation and in the engine alike. So they are computed once at the root of a prefix tree, take positions 0 to P-1 and
are kept by the engine's prefix cache like any other token. What they stand for is decided where the decoder begins, by
a hook on its forward:

    prompt tuning   their embeddings are learned (Lester et al. 2021, arXiv:2104.08691)
    prefix tuning   their keys and values are learned in every layer (see `tunesmith.models.prefix_keys`)
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tunesmith.errors import ModelError

__all__ = ["Places", "PromptVectors", "VirtualTokens", "install", "virtual_ids", "virtual_tokens"]

_ATTRIBUTE = "tunesmith_virtual"


def virtual_ids(count: int) -> tuple[int, ...]:
    """The ids of `count` virtual tokens in the order in which they stand in a row."""
    return tuple(range(-count, 0))


class Places(NamedTuple):
    """Where virtual tokens stand in a batch, each [n]: row, column, and which of the P it is."""

    row: Tensor
    column: Tensor
    token: Tensor


class VirtualTokens(nn.Module):
    """What `count` virtual tokens mean to a decoder."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    @abstractmethod
    def replace(self, backbone: Any, ids: Tensor, places: Places) -> dict[str, Any]:
        """Arguments for the decoder instead of `input_ids`; `ids` [B, T] has 0 where the virtual tokens are."""

    def before(self, backbone: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The hook: rows without virtual tokens pass as they are."""
        ids = args[0] if args else kwargs.get("input_ids")
        if ids is None or not bool((ids < 0).any()):
            return None
        if int(ids.min()) < -self.count:
            raise ModelError(f"A row has the virtual token {int(ids.min())}; this adapter has {self.count} of them.")
        if kwargs.get("past_key_values") is not None:
            raise ModelError("Virtual tokens cannot be put into a transformers cache; ask the engine instead.")
        if getattr(backbone, "gradient_checkpointing", False) and backbone.training:
            raise ModelError("transformers' gradient checkpointing would drop the virtual tokens' keys.")
        row, column = torch.nonzero(ids < 0, as_tuple=True)
        places = Places(row, column, ids[row, column] + self.count)
        replaced = self.replace(backbone, ids.clamp(min=0), places)
        return args[1:], {name: value for name, value in kwargs.items() if name != "input_ids"} | replaced


class PromptVectors(VirtualTokens):
    """Learned embeddings [P, H], kept in float32."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__(vectors.shape[0])
        self.vectors = nn.Parameter(vectors.float())

    def replace(self, backbone: Any, ids: Tensor, places: Places) -> dict[str, Any]:
        """The embeddings of all tokens."""
        embedded = backbone.get_input_embeddings()(ids)
        learned = self.vectors.index_select(0, places.token).to(embedded.dtype)
        return {"inputs_embeds": embedded.index_put((places.row, places.column), learned)}


def install(model: Any, virtual: VirtualTokens) -> None:
    """Let `model` (a causal language model) understand the virtual tokens of `virtual`."""
    setattr(model, _ATTRIBUTE, virtual)
    backbone = getattr(model, model.base_model_prefix)
    # OPT's language model calls the decoder inside. A bound method: a deep copy of the model hooks its own copy.
    getattr(backbone, "decoder", backbone).register_forward_pre_hook(virtual.before, with_kwargs=True)


def virtual_tokens(model: Any) -> int:
    """How many virtual tokens a row for `model` begins with."""
    found = getattr(model, _ATTRIBUTE, None)
    return found.count if isinstance(found, VirtualTokens) else 0
