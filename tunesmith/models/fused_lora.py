"""Linear layers with LoRA as one autograd function each: fewer products, fewer saved activations, fewer passes.

Layers that read the same input (query, key and value; gate and up) are computed as one product. With frozen weights W_i
and W' = [W_i + s_i B_i A_i] stacked, y = x W'^T (Hu et al. 2021, arXiv:2106.09685, eq. 3) has

    y  = x W'^T                      [N, out]     out: the sum over the layers
    dx = dy W'                       [N, in]
    t  = [s_i dy_i B_i],  u = x A^T  [N, r]       r: the sum of the ranks
    dA = t^T x,  dB_i = s_i dy_i^T u_i

Only x is saved; W' is made anew in the backward pass, which costs one pass over the weights. In types narrower than
float32 the sum W + s B A would round small updates away, so there W alone is stacked and the low-rank part is added
to y and dx.

peft's own forward is kept whenever it would do anything else: dropout, several adapters, disabled or merged adapters,
variants such as DoRA.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tunesmith.models.peft_library import LoraLinear

__all__ = ["Joined", "LoraWeights", "fuse_lora_layers", "is_plain", "join", "lora_weights"]


class LoraWeights(NamedTuple):
    """The numbers of one LoRA layer: weight [out, in], a [r, in], b [out, r]."""

    weight: Tensor
    a: Tensor
    b: Tensor
    scaling: float


class Joined(NamedTuple):
    """LoRA layers that read the same input, computed as one product."""

    layers: tuple[LoraWeights, ...]

    def forward(self, x: Tensor) -> Tensor:
        """y [N, out] from x [N, in]."""
        y = x @ self._weight().t()
        if not self._holds_updates:
            for columns, layer in zip(self._columns(y), self.layers, strict=True):
                columns.addmm_(x @ layer.a.t(), layer.b.t(), alpha=layer.scaling)
        return y

    def backward(self, x: Tensor, dy: Tensor, *, wants_dx: bool = True) -> tuple[Any, list[Tensor]]:
        """(dx [N, in] or None, [dA, dB of each layer in turn])."""
        a = torch.cat([layer.a for layer in self.layers])
        ranks = [layer.a.shape[0] for layer in self.layers]
        parts = self._columns(dy)
        t = torch.cat([(part @ layer.b).mul_(layer.scaling) for part, layer in zip(parts, self.layers, strict=True)], 1)
        dx = None
        if wants_dx:
            dx = dy @ self._weight()
            if not self._holds_updates:
                dx.addmm_(t, a)
        das = (t.t() @ x).split(ranks)
        us = (x @ a.t()).split(ranks, dim=1)
        # (u^T dy)^T rather than dy^T u: up to twice as fast for a narrow u.
        dbs = [(u.t() @ part).mul_(layer.scaling).t() for u, part, layer in zip(us, parts, self.layers, strict=True)]
        return dx, [grad for pair in zip(das, dbs, strict=True) for grad in pair]

    @property
    def _holds_updates(self) -> bool:
        return self.layers[0].weight.dtype in (torch.float32, torch.float64)

    def _weight(self) -> Tensor:
        """[out, in]: W' in float32, else the weights W alone."""
        stacked = torch.cat([layer.weight for layer in self.layers])
        if self._holds_updates:
            rows = stacked.split([layer.weight.shape[0] for layer in self.layers])
            for part, layer in zip(rows, self.layers, strict=True):
                part.addmm_(layer.b, layer.a, alpha=layer.scaling)
        return stacked

    def _columns(self, y: Tensor) -> tuple[Tensor, ...]:
        return y.split([layer.weight.shape[0] for layer in self.layers], dim=1)


class _FusedLoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, scalings: tuple[float, ...], *tensors: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        y = join(tensors, scalings).forward(flat)
        if bias is not None:
            y += bias
        ctx.save_for_backward(flat, *tensors)
        ctx.scalings = scalings
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, *tensors = ctx.saved_tensors
        dy = grad.reshape(-1, grad.shape[-1])
        dx, (da, db) = join(tensors, ctx.scalings).backward(flat, dy, wants_dx=ctx.needs_input_grad[0])
        return None if dx is None else dx.view(*grad.shape[:-1], -1), None, None, None, da, db


def fuse_lora_layers(model: nn.Module) -> int:
    """Let every plain LoRA layer of `model` use the fused function; returns how many layers that are."""
    found = [module for module in model.modules() if type(module) is LoraLinear and is_plain(module)]
    for module in found:
        original = module.forward

        def forward(self: Any, x: Tensor, *args: Any, _original: Any = original, **kwargs: Any) -> Tensor:
            if args or kwargs or not is_plain(self):
                return _original(x, *args, **kwargs)
            layer = lora_weights(self)
            bias = self.get_base_layer().bias
            result: Tensor = _FusedLoraLinear.apply(x, bias, (layer.scaling,), layer.weight, layer.a, layer.b)
            return result

        module.forward = MethodType(forward, module)
    return len(found)


def join(tensors: Iterable[Tensor], scalings: Iterable[float]) -> Joined:
    """The layers whose weight, a, b stand one after the other in `tensors`."""
    thrice = iter(tensors)
    return Joined(tuple(LoraWeights(next(thrice), next(thrice), next(thrice), scaling) for scaling in scalings))


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
