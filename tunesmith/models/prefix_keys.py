"""Keys and values of virtual tokens, learned for every layer: prefix tuning and p-tuning v2.

In layer l the virtual tokens' keys and values are P_l = (K_l, V_l), free parameters that no earlier layer changes:

    prefix tuning   [K_1, V_1, ..., K_L, V_L] = W2 tanh(W1 e + b1) + b2      (section 4.3 of the paper)
    p-tuning v2     the same, or the numbers themselves as parameters        (section 3 of the paper)

(Li & Liang 2021, arXiv:2101.00190; Liu et al. 2022, arXiv:2110.07602.) Both are one mechanism with other defaults.
The MLP exists in training only: what is saved are the keys and values it gives, [P, L * 2 * heads * width] as peft lays
them out (layer, key or value, head, width). Keys are stored as attention reads them, after the rotary embedding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from tunesmith.models.virtual import Places, VirtualTokens

__all__ = ["PrefixKeys", "PrefixShape", "activations", "mlp", "prefix_shape", "table"]


class PrefixShape(NamedTuple):
    """Layers, key/value heads and the width of a head."""

    layers: int
    heads: int
    width: int

    @property
    def columns(self) -> int:
        """Numbers of one virtual token."""
        return self.layers * 2 * self.heads * self.width


def prefix_shape(config: Any) -> PrefixShape:
    """The shape of the keys and values of a model with the transformers configuration `config`."""
    heads = int(config.num_attention_heads)
    width = getattr(config, "head_dim", None) or int(config.hidden_size) // heads
    return PrefixShape(
        int(config.num_hidden_layers), int(getattr(config, "num_key_value_heads", None) or heads), int(width)
    )


class PrefixKeys(VirtualTokens):
    """Virtual tokens whose keys and values [P, columns] `encoder` gives; their own hidden states are never read."""

    def __init__(self, count: int, shape: PrefixShape, encoder: nn.Module) -> None:
        super().__init__(count)
        self.shape = shape
        self.encoder = encoder

    def keys_and_values(self) -> Tensor:
        """[P, columns], float32."""
        learned: Tensor = self.encoder(torch.arange(self.count, device=next(self.encoder.parameters()).device))
        return learned

    def replace(self, backbone: Any, ids: Tensor, places: Places) -> dict[str, Any]:
        """The tokens, and a cache that puts in the learned keys and values."""
        shape = self.shape
        learned = self.keys_and_values().view(self.count, shape.layers, 2, shape.heads, shape.width)
        return {"input_ids": ids, "past_key_values": _LearnedKeys(learned, places)}


def table(learned: Tensor) -> nn.Embedding:
    """The encoder that is its parameters, [P, columns]."""
    return nn.Embedding.from_pretrained(learned.float(), freeze=False)


def mlp(count: int, width: int, hidden: int, columns: int) -> nn.Sequential:
    """The re-parameterisation of Li & Liang: P embeddings of `width`, a hidden layer of `hidden`, `columns` numbers."""
    return nn.Sequential(nn.Embedding(count, width), nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, columns))


@torch.no_grad()
def activations(model: Any, token_ids: list[int]) -> Tensor:
    """[T, columns]: the keys and values that `model` itself gives to a text, a start that says what the text says."""
    ids = torch.tensor([token_ids], device=model.device)
    cache, attention = DynamicCache(), model.config._attn_implementation
    model.set_attn_implementation("eager")  # every model has it
    try:
        model(input_ids=ids, past_key_values=cache, use_cache=True)
    finally:
        model.set_attn_implementation(attention)
    pairs = [torch.stack([layer.keys[0], layer.values[0]]) for layer in cache.layers]
    return torch.stack(pairs).permute(3, 0, 1, 2, 4).reshape(len(token_ids), -1).float()


class _LearnedKeys(Cache):
    """Looks like an empty cache to a transformers model, and gives back each layer's keys and values with the learned
    ones in the places of the virtual tokens: a seam after the rotary embedding and before any attention function.
    """

    def __init__(self, learned: Tensor, places: Places) -> None:
        super().__init__(layers=[])
        self._learned = learned.index_select(0, places.token)  # [n, L, 2, heads, width]
        self._at = (places.row, places.column)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keys and values [B, heads, T, width] of one layer."""
        own = self._learned[:, layer_idx]
        return self._put(key_states, own[:, 0]), self._put(value_states, own[:, 1])

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Nothing came before."""
        return 0

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Nothing came before."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """As many keys as queries, from the first on."""
        return query_length, 0

    def _put(self, states: Tensor, learned: Tensor) -> Tensor:
        return states.transpose(1, 2).index_put(self._at, learned.to(states.dtype)).transpose(1, 2)
