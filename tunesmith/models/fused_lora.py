"""One autograd function per LoRA linear layer: fewer saved activations and fewer passes over memory.

Forward and backward of y = x W^T + b + s (x A^T) B^T (Hu et al. 2021, arXiv:2106.09685, eq. 3), W frozen:

    u  = x A^T                       [N, r]
    y  = x W^T + b + s u B^T         [N, out]
    t  = s dy B                      [N, r]
    dx = dy W + t A                  [N, in]
    dA = t^T x,  dB = s dy^T u

Only x and u are saved. peft's own forward is kept whenever it would do anything else: dropout, several
adapters, disabled or merged adapters, variants such as DoRA.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn

__all__ = ["fuse_lora_layers"]


class _FusedLoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        a_cast, b_cast = a.to(x.dtype), b.to(x.dtype)
        u = flat @ a_cast.t()
        y = flat @ weight.t() if bias is None else torch.addmm(bias, flat, weight.t())
        y.addmm_(u, b_cast.t(), alpha=scaling)
        ctx.save_for_backward(flat, u, weight, a_cast, b_cast)
        ctx.scaling, ctx.dtype = scaling, a.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, u, weight, a, b = ctx.saved_tensors
        dy = grad.reshape(-1, grad.shape[-1])
        t = dy @ b
        t *= ctx.scaling
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (dy @ weight).addmm_(t, a).view(*grad.shape[:-1], -1)
        da = (t.t() @ flat).to(ctx.dtype)
        db = (dy.t() @ u).mul_(ctx.scaling).to(ctx.dtype)
        return dx, None, None, da, db, None


def fuse_lora_layers(model: nn.Module) -> int:
    """Let every plain LoRA layer of `model` use the fused function; returns how many layers that are."""
    found = [module for module in model.modules() if type(module) is LoraLinear and _is_plain(module)]
    for module in found:
        original = module.forward

        def forward(self: Any, x: Tensor, *args: Any, _original: Any = original, **kwargs: Any) -> Tensor:
            if not _is_plain(self) or args or kwargs or not torch.is_grad_enabled():
                return _original(x, *args, **kwargs)
            name = self.active_adapters[0]
            base = self.get_base_layer()
            return _FusedLoraLinear.apply(
                x, base.weight, base.bias, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
            )

        module.forward = MethodType(forward, module)
    return len(found)


def _is_plain(module: Any) -> bool:
    """One active adapter, neither merged nor disabled, no dropout, no bias in the adapter, no variant, frozen base."""
    if module.merged or module.disable_adapters or len(module.active_adapters) != 1:
        return False
    name = module.active_adapters[0]
    return (
        name in module.lora_A
        and name not in getattr(module, "lora_variant", {})
        and isinstance(module.lora_dropout[name], nn.Identity)
        and module.lora_A[name].bias is None
        and module.lora_B[name].bias is None
        and type(module.get_base_layer()) is nn.Linear
        and not module.get_base_layer().weight.requires_grad
    )
