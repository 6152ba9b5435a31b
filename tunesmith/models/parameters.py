"""Choosing, exchanging and naming the parameters of a base model."""

from __future__ import annotations

from collections.abc import Container, Mapping
from math import prod
from typing import Any

from torch import Tensor, nn

from tunesmith.errors import ModelError
from tunesmith.models.start import forget_start

__all__ = [
    "count_parameters",
    "decoder_layers",
    "exchange_parameters",
    "free_tensors",
    "train_all_but",
    "trainable_share",
]


def decoder_layers(model: Any) -> nn.ModuleList:
    """The repeated layers of a causal language model. Raises ModelError when it is not built of such."""
    backbone = getattr(model, model.base_model_prefix, None)
    for name in ("layers", "h", "blocks"):
        found = getattr(backbone, name, None)
        if isinstance(found, nn.ModuleList):
            return found
    raise ModelError(f"{type(model).__name__} has no list of decoder layers that this method could choose from.")


def train_all_but(model: Any, frozen: Container[int]) -> None:
    """Let every parameter be trained whose id is not in `frozen`."""
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) not in frozen)


def trainable_share(model: Any) -> str:
    """How much of `model` is trained, in words."""
    trained, total = count_parameters(model)
    return f"training {trained:,} of {total:,} parameters ({trained / total:.3%})"


def count_parameters(model: Any) -> tuple[int, int]:
    """(trained, all) parameters; those packed into four bits count as the numbers they stand for."""
    trained = total = 0
    for parameter in model.parameters():
        packed = getattr(parameter, "quant_state", None)
        count = parameter.numel() if packed is None else prod(packed.shape)
        total += count
        trained += count if parameter.requires_grad else 0
    return trained, total


def free_tensors(model: Any) -> None:
    """Give the memory of all weights of `model` back; it can never be used again."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.new_empty(0)
        tensor.grad = None
    forget_start(model)


def exchange_parameters(model: Any, tensors: Mapping[str, Tensor], frozen: Container[int] = ()) -> None:
    """Put new parameters in the place of those named, wherever they are used; the old tensors stay as they are.

    `tensors` must name exactly the parameters of `model` whose id is not in `frozen`, with the same shapes; else
    ModelError.
    """
    known = {name: parameter for name, parameter in model.named_parameters() if id(parameter) not in frozen}
    if set(known) != set(tensors):
        missing, extra = sorted(set(known) - set(tensors))[:3], sorted(set(tensors) - set(known))[:3]
        raise ModelError(f"The adapter does not fit the model: missing {missing}, unexpected {extra}.")
    for name, tensor in tensors.items():
        if known[name].shape != tensor.shape:
            got, has = tuple(tensor.shape), tuple(known[name].shape)
            raise ModelError(f"The adapter does not fit the model: {name} is {got}, the base has {has}.")
    fresh = {
        id(known[name]): nn.Parameter(tensor.to(known[name].device, known[name].dtype), requires_grad=False)
        for name, tensor in tensors.items()
    }
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and id(parameter) in fresh:
                module._parameters[name] = fresh[id(parameter)]
