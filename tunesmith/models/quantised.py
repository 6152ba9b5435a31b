"""The base in four bits: NormalFloat, by bitsandbytes (QLoRA, Dettmers et al. 2023, arXiv:2305.14314).

Each block of 64 numbers of a weight (32 where rows do not hold whole blocks of 64) is divided by its largest
magnitude, and each quotient is replaced by the nearest of 16 quantiles of the normal distribution; the magnitudes are
quantised again to 8 bits ("double"). That is 4.127 bits a weight. Products are computed in the type of the input, on
weights that are expanded layer by layer.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.errors import MissingDependency, ModelError
from tunesmith.models.targets import linear_layers

__all__ = ["expand_layers", "expanded", "quantise_layers", "require_bitsandbytes", "require_whole_blocks"]


def quantise_layers(model: Any, double: bool) -> int:
    """Replace every linear layer of `model` but the output head by its four-bit form; returns how many.

    The layers' own tensors stay as they are. Raises MissingDependency without bitsandbytes and ModelError for a layer
    that would not be quantised right.
    """
    bnb = require_bitsandbytes()
    layers = linear_layers(model)
    for name, layer in layers.items():
        four_bit = bnb.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=layer.weight.dtype,
            compress_statistics=double,
            quant_type="nf4",
            device="meta",
        )
        weight = layer.weight.detach().contiguous()
        four_bit.weight = bnb.nn.Params4bit(
            weight,
            requires_grad=False,
            blocksize=_block_size(name, layer),
            compress_statistics=double,
            quant_type="nf4",
            module=four_bit,
        ).to(weight.device)
        four_bit.bias = layer.bias
        # Else evaluation on some processors repacks the weights for another kernel, with other sums than training's.
        four_bit.support_avx512bf16_for_cpu = False
        _replace(model, name, four_bit.train(layer.training))
    # What peft looks at to put its adapters on four-bit layers.
    model.is_loaded_in_4bit = True
    return len(layers)


def expand_layers(model: Any) -> int:
    """Replace every four-bit layer of `model` by a plain one with the numbers it computes with; returns how many."""
    found = [(name, module) for name, module in model.named_modules() if _is_four_bit(module)]
    dtype = model.get_output_embeddings().weight.dtype
    for name, module in found:
        weight = expanded(module).to(dtype)
        layer = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layer.bias = module.bias
        _replace(model, name, layer.train(module.training))
    model.is_loaded_in_4bit = False
    if model.__dict__.get("hf_quantizer") is not None:
        # By these transformers knows a quantised checkpoint, and refuses to cast or save it as a plain one.
        for name in ("quantization_method", "hf_quantizer", "is_quantized", "_weight_conversions"):
            model.__dict__.pop(name, None)
    return len(found)


def expanded(layer: Any) -> Tensor:
    """The weight [outputs, inputs] of a four-bit layer, in its compute type."""
    functional = require_bitsandbytes().functional
    weight: Tensor = functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return weight.to(layer.compute_dtype or torch.float32)


def _block_size(name: str, layer: nn.Linear) -> int:
    """64 as in the paper, or 32 where rows are not a multiple of it.

    On the CPU bitsandbytes 0.50 expands a weight to wrong numbers, silently, when a row does not hold whole blocks (a
    quarter of their size off instead of a tenth); a unit test compares every number with the definition.
    """
    for size in (64, 32):
        if layer.in_features % size == 0:
            return size
    if layer.weight.device.type != "cpu":
        return 64
    raise ModelError(
        f"The layer {name} has {layer.in_features} inputs, which is no multiple of 32: it cannot be kept in four bits.",
        hint="Use train.method: {name: lora} for this base.",
    )


def require_whole_blocks(model: Any, quantise: bool) -> None:
    """Raise ModelError when transformers' four-bit form of `model` would be read wrongly on the CPU.

    Transformers quantises in blocks of 64, whatever the rows' length; see `_block_size` for what comes of it. Looked
    at are layers in four bits, and with `quantise` those that would be put into them.
    """
    for name, layer in model.named_modules():
        four_bit = _is_four_bit(layer)
        size = layer.weight.quant_state.blocksize if four_bit else 64
        asked = four_bit or (quantise and name in linear_layers(model))
        if asked and layer.weight.device.type == "cpu" and layer.in_features % size:
            raise ModelError(
                f"The layer {name} has rows of {layer.in_features} numbers, which is no multiple of {size}: "
                "bitsandbytes would expand its four-bit form to wrong numbers on a CPU.",
                hint="Merge into the base in full precision, without --quantise.",
            )


def _is_four_bit(module: nn.Module) -> bool:
    return type(module).__name__ == "Linear4bit" and hasattr(getattr(module, "weight", None), "quant_state")


def _replace(model: Any, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def require_bitsandbytes() -> Any:
    """The module bitsandbytes. Raises MissingDependency where it is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependency(
            "Four-bit base models need the package 'bitsandbytes'.", hint="pip install 'tunesmith[qlora]'"
        )
    with warnings.catch_warnings():
        # It warns about what the machine does not have; what is not there is refused where it is asked for.
        warnings.simplefilter("ignore")
        import bitsandbytes

    return bitsandbytes
