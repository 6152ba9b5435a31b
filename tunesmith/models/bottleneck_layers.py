"""Bottleneck adapters: a small two-layer network with a residual connection after a part of a decoder layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.errors import ModelError
from tunesmith.models.parameters import decoder_layers

__all__ = ["Bottleneck", "Place", "Shape", "insert_bottlenecks"]

Place = Literal["attention", "mlp"]
_ATTENTION_NAMES = ("self_attn", "attn", "attention", "self_attention")
_OUTPUT_NAMES = ("o_proj", "out_proj", "c_proj", "dense", "wo")
_MLP_NAMES = ("mlp", "feed_forward", "ffn")


class Shape(NamedTuple):
    """Hidden size of the model, width of the bottleneck, dropout on its output."""

    hidden: int
    width: int
    dropout: float


class Bottleneck(nn.Module):
    """y = f(x) + U relu(D f(x) + d) + u for the wrapped part f; U and u are zero at first, so y = f(x)."""

    def __init__(self, inner: nn.Module, shape: Shape, device: torch.device) -> None:
        super().__init__()
        self.inner = inner
        self.down = nn.Linear(shape.hidden, shape.width, device=device, dtype=torch.float32)
        self.up = nn.Linear(shape.width, shape.hidden, device=device, dtype=torch.float32)
        self.dropout = nn.Dropout(shape.dropout)
        nn.init.normal_(self.down.weight, std=0.02)
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """[..., hidden] -> [..., hidden]; the small network computes in the type of its input."""
        x: Tensor = self.inner(*args, **kwargs)
        low = functional.relu(functional.linear(x, self.down.weight.to(x.dtype), self.down.bias.to(x.dtype)))
        change = functional.linear(low, self.up.weight.to(x.dtype), self.up.bias.to(x.dtype))
        return x + self.dropout(change)


def insert_bottlenecks(model: Any, places: Sequence[Place], width: int, dropout: float) -> int:
    """Wrap the output of the named parts of every decoder layer; returns the number of bottlenecks put in.

    Everything that was in `model` is frozen. Raises ModelError when a layer has no such part.
    """
    shape = Shape(int(model.config.hidden_size), width, dropout)
    model.requires_grad_(False)
    count = 0
    for layer in decoder_layers(model):
        for place in places:
            parent, name = _part(layer, place)
            inner = getattr(parent, name)
            setattr(parent, name, Bottleneck(inner, shape, next(inner.parameters()).device))
            count += 1
    return count


def _part(layer: nn.Module, place: Place) -> tuple[nn.Module, str]:
    """(owner, attribute) of the module whose output is that of the attention's last projection or of the MLP."""
    if place == "mlp":
        for name in _MLP_NAMES:
            if isinstance(getattr(layer, name, None), nn.Module):
                return layer, name
    for attention in _children(layer, _ATTENTION_NAMES):
        for name in _OUTPUT_NAMES:
            if isinstance(getattr(attention, name, None), nn.Module):
                return attention, name
    raise ModelError(
        f"{type(layer).__name__} has no {place} part that a bottleneck adapter could follow.",
        hint="Choose another method, such as lora.",
    )


def _children(layer: nn.Module, names: Sequence[str]) -> Iterator[nn.Module]:
    for name in names:
        found = getattr(layer, name, None)
        if isinstance(found, nn.Module):
            yield found
