"""One autograd function per LoRA linear layer: fewer saved activations and fewer passes over memory.

Forward and backward of y = x W^T + s (x A^T) B^T (Hu et al. 2021, arXiv:2106.09685, eq. 3), W frozen:

    u  = x A^T                       [N, r]
    y  = x W^T + s u B^T             [N, out]
    t  = s dy B                      [N, r]
    dx = dy W + t A                  [N, in]
    dA = t^T x,  dB = s dy^T u

Only x and u are saved. peft's own forward is kept whenever it would do anything else: dropout, several
adapters, disabled or merged adapters, variants such as DoRA.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, NamedTuple

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn

__all__ = ["LoraWeights", "fuse_lora_layers", "is_plain", "lora_weights"]


class LoraWeights(NamedTuple):
    """The numbers of one LoRA layer: weight [out, in], a [r, in], b [out, r], and the products made of them."""

    weight: Tensor
    a: Tensor
    b: Tensor
    scaling: float

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """y [N, out] from x [N, in] and u = x A^T [N, r]."""
        return (x @ self.weight.t()).addmm_(u, self.b.t(), alpha=self.scaling)

    def backward(self, dy: Tensor, into: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(dx [N, in], t [N, r]); dx is added to `into` when that is given."""
        t = (dy @ self.b).mul_(self.scaling)
        dx = dy @ self.weight if into is None else into.addmm_(dy, self.weight)
        return dx.addmm_(t, self.a), t

    def low_rank_gradients(self, t: Tensor, x: Tensor, dy: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """(dA [r, in], dB [out, r])."""
        return t.t() @ x, (dy.t() @ u).mul_(self.scaling)


class _FusedLoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scaling: float, bias: Tensor | None
    ) -> Tensor:
        layer = LoraWeights(weight, a, b, scaling)
        flat = x.reshape(-1, x.shape[-1])
        u = flat @ a.t()
        y = layer.forward(flat, u)
        if bias is not None:
            y += bias
        ctx.save_for_backward(flat, u, weight, a, b)
        ctx.scaling = scaling
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, u, weight, a, b = ctx.saved_tensors
        layer = LoraWeights(weight, a, b, ctx.scaling)
        dy = grad.reshape(-1, grad.shape[-1])
        if ctx.needs_input_grad[0]:
            dx, t = layer.backward(dy)
            dx = dx.view(*grad.shape[:-1], -1)
        else:
            dx, t = None, (dy @ b).mul_(ctx.scaling)
        da, db = layer.low_rank_gradients(t, flat, dy, u)
        return dx, None, da, db, None, None


def fuse_lora_layers(model: nn.Module) -> int:
    """Let every plain LoRA layer of `model` use the fused function; returns how many layers that are."""
    found = [module for module in model.modules() if type(module) is LoraLinear and is_plain(module)]
    for module in found:
        original = module.forward

        def forward(self: Any, x: Tensor, *args: Any, _original: Any = original, **kwargs: Any) -> Tensor:
            if args or kwargs or not is_plain(self):
                return _original(x, *args, **kwargs)
            layer = lora_weights(self)
            result: Tensor = _FusedLoraLinear.apply(
                x, layer.weight, layer.a, layer.b, layer.scaling, self.get_base_layer().bias
            )
            return result

        module.forward = MethodType(forward, module)
    return len(found)


def lora_weights(module: Any) -> LoraWeights:
    """The active adapter's weights of a plain LoRA layer, cast to the base weight's type (differentiably)."""
    name = module.active_adapters[0]
    weight = module.get_base_layer().weight
    a, b = module.lora_A[name].weight.to(weight.dtype), module.lora_B[name].weight.to(weight.dtype)
    return LoraWeights(weight, a, b, module.scaling[name])


def is_plain(module: Any, *, bias: bool = True) -> bool:
    """One active adapter, neither merged nor disabled, no dropout, no bias in the adapter, no variant, frozen base."""
    if module.merged or module.disable_adapters or len(module.active_adapters) != 1:
        return False
    name = module.active_adapters[0]
    base = module.get_base_layer()
    return (
        name in module.lora_A
        and name not in getattr(module, "lora_variant", {})
        and isinstance(module.lora_dropout[name], nn.Identity)
        and module.lora_A[name].bias is None
        and module.lora_B[name].bias is None
        and type(base) is nn.Linear
        and (bias or base.bias is None)
        and not base.weight.requires_grad
    )
