"""The last decoder layer computed only where something is predicted.

Behind the last attention no position looks at another one any more, so the feed-forward block of the last layer is
needed only at the nodes whose next token is trained: with short answers behind long questions a few in a hundred.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

__all__ = ["last_layer_at"]


@contextmanager
def last_layer_at(backbone: Any, nodes: Tensor) -> Iterator[bool]:
    """Inside the block `backbone` gives its last states [1, M, H] at `nodes` [M] only, if True is given.

    That is where its last layer has the very code of Llama's (many families have); others compute all nodes.
    """
    layers = getattr(backbone, "layers", None)
    layer = layers[-1] if layers is not None and len(layers) else None
    if layer is None or "forward" in vars(layer) or not _has_code_of_llama(layer):
        yield False
        return
    layer.forward = partial(_forward_at, layer, nodes)
    try:
        yield True
    finally:
        del layer.forward


def _forward_at(layer: Any, nodes: Tensor, hidden_states: Tensor, **kwargs: Any) -> Tensor:
    """Llama's layer (Touvron et al. 2023, arXiv:2302.13971): x = x + attention(norm(x)); x + mlp(norm(x))."""
    attended, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **kwargs)
    residual = hidden_states.index_select(1, nodes) + attended.index_select(1, nodes)
    result: Tensor = residual + layer.mlp(layer.post_attention_layernorm(residual))
    return result


def _has_code_of_llama(layer: Any) -> bool:
    ours, llamas = (getattr(kind.forward, "__code__", None) for kind in (type(layer), LlamaDecoderLayer))
    return (
        ours is not None and llamas is not None and (ours.co_code, ours.co_names) == (llamas.co_code, llamas.co_names)
    )
