"""Layers that save less for the backward pass and touch memory less often, chosen by what a module does, not its name.

`fuse_layers` looks for three shapes of module and replaces their forward only after the replacement has given the same
output as the original on random input:

    RMS norm    y = w * x / sqrt(mean(x^2) + eps)  (Zhang & Sennrich 2019, arXiv:1910.07467); saves x and a number a row
    gated MLP   y = down(silu(gate(x)) * up(x))    (Shazeer 2020, arXiv:2002.05202); saves x, gate(x) and up(x)
    attention   query, key and value as one product with the rotary embedding (see `fused_attention`)

With frozen weights and plain LoRA on top, one function computes a whole gated MLP: its product and silu are
recomputed in the backward pass rather than kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from tunesmith.models.fused_attention import attention_inputs, fused_attention
from tunesmith.models.fused_lora import is_plain, join, lora_weights
from tunesmith.models.peft_library import LoraLinear

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
    def forward(ctx: Any, x: Tensor, scalings: tuple[float, ...], *tensors: Tensor) -> Tensor:
        inner, down = join(tensors[:6], scalings[:2]), join(tensors[6:], scalings[2:])
        flat = x.reshape(-1, x.shape[-1])
        both = inner.forward(flat)
        gated, upped = both.chunk(2, dim=1)
        ctx.save_for_backward(flat, both, *tensors)
        ctx.scalings = scalings
        return down.forward(silu(gated).mul_(upped)).view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, both, *tensors = ctx.saved_tensors
        inner, down = join(tensors[:6], ctx.scalings[:2]), join(tensors[6:], ctx.scalings[2:])
        gated, upped = both.chunk(2, dim=1)
        activated = silu(gated)
        d_product, (da_down, db_down) = down.backward(activated * upped, grad.reshape(-1, grad.shape[-1]))
        d_both = torch.empty_like(both)
        d_gated, d_upped = d_both.chunk(2, dim=1)
        torch.mul(activated, d_product, out=d_upped)
        torch.ops.aten.silu_backward.grad_input(d_product.mul_(upped), gated, grad_input=d_gated)
        dx, (da_gate, db_gate, da_up, db_up) = inner.backward(flat, d_both, wants_dx=ctx.needs_input_grad[0])
        dx = None if dx is None else dx.view(grad.shape)
        return dx, None, None, da_gate, db_gate, None, da_up, db_up, None, da_down, db_down


def fuse_layers(model: nn.Module) -> int:
    """Replace the forward of every RMS norm and LoRA-wrapped gated MLP that passes the comparison; returns how many."""
    count = 0
    for module in list(model.modules()):
        fused = _fused_forward(module)
        if fused is not None and _agrees(module, fused):
            module.forward = MethodType(fused, module)
            count += 1
    return count


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
            result: Tensor = _GatedMlp.apply(x, tuple(w.scaling for w in weights), *tensors)
            return result

        return mlp
    return fused_attention(module)


def _agrees(module: nn.Module, fused: Any) -> bool:
    """Same output as the original on random input, to rounding."""
    parameter = next(module.parameters())
    width = parameter.shape[-1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randn(1, 3, width, dtype=parameter.dtype, device=parameter.device)
        inputs = attention_inputs(module, x) if hasattr(module, "q_proj") else None
    with torch.no_grad():
        if inputs is None:
            expected, got = module.forward(x), fused(module, x)
        else:
            with _plain_attention(module):
                expected, got = module.forward(**inputs)[0], fused(module, **inputs)[0]
    limit = 1e-5 if parameter.dtype == torch.float32 else 2e-2
    return got.shape == expected.shape and float((got - expected).norm()) <= limit * float(expected.norm())


@contextmanager
def _plain_attention(module: Any) -> Iterator[None]:
    """Run `module` with torch's own attention, which needs nothing but query, key and value."""
    before = module.config._attn_implementation
    module.config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        module.config._attn_implementation = before
