"""Query, key and value of an attention layer with LoRA as one product, with the rotary embedding applied in place.

The rotation of a pair (a, b) by its angle (Su et al. 2021, arXiv:2104.09864), in the half-split layout:

    (a, b) -> (a cos - b sin, b cos + a sin);   its gradient is the rotation back
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaAttention

from tunesmith.models.fused_lora import is_plain, join, lora_weights
from tunesmith.models.peft_library import LoraLinear

__all__ = ["attention_inputs", "fused_attention"]


class _RotatedProjections(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, angles: tuple[Tensor, Tensor], rotated: int, scalings: tuple[float, ...], *tensors: Tensor
    ) -> Tensor:
        """[N, q | k | v] from x [N, in]; the first `rotated` columns are heads to rotate."""
        y = join(tensors, scalings).forward(x)
        _rotate(y[:, :rotated], *angles)
        ctx.save_for_backward(x, *angles, *tensors)
        ctx.rotated, ctx.scalings = rotated, scalings
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, cos, sin, *tensors = ctx.saved_tensors
        dy = grad.clone()
        _rotate(dy[:, : ctx.rotated], cos, -sin)
        dx, grads = join(tensors, ctx.scalings).backward(x, dy, wants_dx=ctx.needs_input_grad[0])
        of_layers = [grad for da, db in zip(grads[::2], grads[1::2], strict=True) for grad in (None, da, db)]
        return dx, None, None, None, *of_layers


def fused_attention(module: nn.Module) -> Any:
    """A forward for `module` when it is laid out as Llama's attention with plain LoRA on q, k and v; else None.

    Only for modules whose own forward has the very code of Llama's: others hand their attention function more
    (a sliding window, soft capping), which must not be lost.
    """
    names = ("q_proj", "k_proj", "v_proj")
    if not _has_code_of_llama(module):
        return None
    if not all(type(getattr(module, n)) is LoraLinear and is_plain(getattr(module, n), bias=False) for n in names):
        return None
    original = module.forward

    def attention(self: Any, hidden_states: Tensor, position_embeddings: Any = None, *args: Any, **kwargs: Any) -> Any:
        layers = [getattr(self, name) for name in names]
        cos, sin = position_embeddings
        usable = cos.shape[0] == 1 and cos.shape[-1] == self.head_dim and kwargs.get("past_key_values") is None
        if args or not usable or not all(is_plain(layer, bias=False) for layer in layers):
            return original(hidden_states, position_embeddings, *args, **kwargs)
        shape = hidden_states.shape[:-1]
        query, key, value = _projections(self, layers, hidden_states, (cos, sin))
        mask = kwargs.pop("attention_mask", None)
        kwargs.pop("past_key_values", None)
        function = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        dropout = self.attention_dropout if self.training else 0.0
        output, weights = function(self, query, key, value, mask, dropout=dropout, scaling=self.scaling, **kwargs)
        return self.o_proj(output.reshape(*shape, -1)), weights

    return attention


def attention_inputs(module: Any, x: Tensor) -> dict[str, Any]:
    """What to call Llama's attention with to compare two forwards at hidden states x [1, T, H]."""
    angles = torch.rand(1, x.shape[1], module.head_dim // 2, dtype=x.dtype, device=x.device).repeat(1, 1, 2)
    return {"hidden_states": x, "position_embeddings": (angles.cos(), angles.sin()), "attention_mask": None}


def _projections(module: Any, layers: list[Any], x: Tensor, angles: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Rotated query and key, and value, each [B, heads, T, D]."""
    weights = [lora_weights(layer) for layer in layers]
    tensors = [tensor for w in weights for tensor in (w.weight, w.a, w.b)]
    widths = [w.weight.shape[0] for w in weights]
    batch, length = x.shape[0], x.shape[1]
    half = module.head_dim // 2
    # Every row of a padded batch has the same positions; a tree is one row.
    flat_angles = [part[0, :, :half].repeat(batch, 1) for part in angles]
    y = _RotatedProjections.apply(
        x.reshape(batch * length, -1),
        tuple(flat_angles),
        widths[0] + widths[1],
        tuple(w.scaling for w in weights),
        *tensors,
    )
    return [part.view(batch, length, -1, module.head_dim).transpose(1, 2) for part in y.split(widths, dim=1)]


def _rotate(columns: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate heads lying side by side in [N, heads * D] by angles [N, D / 2], in place."""
    half = cos.shape[-1]
    first, second = columns.unflatten(1, (-1, 2, half)).unbind(2)
    cos, sin = cos[:, None], sin[:, None]
    before = first.clone()
    first.mul_(cos).addcmul_(second, sin, value=-1.0)
    second.mul_(cos).addcmul_(before, sin)


def _has_code_of_llama(module: nn.Module) -> bool:
    ours, llamas = (getattr(kind.forward, "__code__", None) for kind in (type(module), LlamaAttention))
    return (
        ours is not None
        and llamas is not None
        and (ours.co_code, ours.co_names) == (llamas.co_code, llamas.co_names)
        and ours.co_consts[1:] == llamas.co_consts[1:]
    )
