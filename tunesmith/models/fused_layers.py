"""Layers that save less for the backward pass and touch memory less often, chosen by what a module does, not its name.

`fuse_layers` looks for two shapes of module and replaces their forward only after the replacement has given the same
output as the original on random input:

    RMS norm     y = w * x / sqrt(mean(x^2) + eps)  (Zhang & Sennrich 2019, arXiv:1910.07467); saves x and one number
    a row gated MLP    y = down(silu(gate(x)) * up(x))    (Shazeer 2020, arXiv:2002.05202); saves x, gate(x), up(x)

With frozen weights and plain LoRA on top, one function computes a whole gated MLP: its product and silu are
recomputed in the backward pass rather than kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn.functional import silu

from tunesmith.models.fused_lora import LoraWeights, is_plain, lora_weights

__all__ = ["fuse_layers"]

SILU_CLASSES = ("SiLU", "SiLUActivation")


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        inverse = torch.rsqrt(
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps)
        )
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """With n = x * inverse and d = dy * w:  dx = inverse * (d - n * mean(d * n))."""
        x, weight, inverse = ctx.saved_tensors
        scaled = grad.float() * weight.float()
        normed = x.float() * inverse
        mean = (scaled * normed).mean(dim=-1, keepdim=True)
        return scaled.sub_(normed.mul_(mean)).mul_(inverse).to(x.dtype), None, None


class _GatedMlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Any) -> Tensor:
        gate, up, down = _three(weights[:9], weights[9])
        flat = x.reshape(-1, x.shape[-1])
        gate_low, up_low = flat @ gate.a.t(), flat @ up.a.t()
        gated, upped = gate.forward(flat, gate_low), up.forward(flat, up_low)
        product = silu(gated).mul_(upped)
        down_low = product @ down.a.t()
        ctx.save_for_backward(flat, gated, upped, gate_low, up_low, down_low, *weights[:9])
        ctx.scalings = weights[9]
        return down.forward(product, down_low).view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, gated, upped, gate_low, up_low, down_low, *weights = ctx.saved_tensors
        gate, up, down = _three(weights, ctx.scalings)
        dy = grad.reshape(-1, grad.shape[-1])
        activated = silu(gated)
        d_product, down_t = down.backward(dy)
        d_down = down.low_rank_gradients(down_t, activated * upped, dy, down_low)
        d_up = activated.mul_(d_product)
        d_gate = torch.ops.aten.silu_backward(d_product.mul_(upped), gated)
        dx, up_t = up.backward(d_up)
        d_ups = up.low_rank_gradients(up_t, flat, d_up, up_low)
        dx_gate, gate_t = gate.backward(d_gate, into=dx)
        d_gates = gate.low_rank_gradients(gate_t, flat, d_gate, gate_low)
        return dx_gate.view(grad.shape), None, *d_gates, None, *d_ups, None, *d_down, None


def fuse_layers(model: nn.Module) -> int:
    """Replace the forward of every RMS norm and LoRA-wrapped gated MLP that passes the comparison; returns how many."""
    count = 0
    for module in list(model.modules()):
        fused = _fused_forward(module)
        if fused is not None and _agrees(module, fused):
            module.forward = MethodType(fused, module)
            count += 1
    return count


def _three(tensors: Sequence[Tensor], scalings: Sequence[float]) -> tuple[LoraWeights, LoraWeights, LoraWeights]:
    """gate, up and down from their nine tensors."""
    gate, up, down = (
        LoraWeights(tensors[3 * i], tensors[3 * i + 1], tensors[3 * i + 2], scalings[i]) for i in range(3)
    )
    return gate, up, down


def _fused_forward(module: nn.Module) -> Any:
    original = module.forward
    if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):

        def norm(self: Any, x: Tensor) -> Tensor:
            if self.weight.requires_grad:
                return original(x)
            result: Tensor = _RmsNorm.apply(x, self.weight, self.variance_epsilon)
            return result

        return norm
    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    activation = type(getattr(module, "act_fn", None)).__name__
    if activation in SILU_CLASSES and all(type(part) is LoraLinear and is_plain(part, bias=False) for part in parts):

        def mlp(self: Any, x: Tensor) -> Tensor:
            linears = (self.gate_proj, self.up_proj, self.down_proj)
            if not all(is_plain(part, bias=False) for part in linears):
                return original(x)
            weights = [lora_weights(part) for part in linears]
            tensors = [tensor for w in weights for tensor in (w.weight, w.a, w.b)]
            result: Tensor = _GatedMlp.apply(x, *tensors, tuple(w.scaling for w in weights))
            return result

        return mlp
    return None


def _agrees(module: nn.Module, fused: Any) -> bool:
    """Same output as the original on random input, to rounding."""
    parameter = next(module.parameters())
    width = parameter.shape[-1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randn(1, 3, width, dtype=parameter.dtype, device=parameter.device)
    expected = module.forward(x).detach()
    got = fused(module, x).detach()
    limit = 1e-5 if parameter.dtype == torch.float32 else 2e-2
    return got.shape == expected.shape and float((got - expected).norm()) <= limit * float(expected.norm())
