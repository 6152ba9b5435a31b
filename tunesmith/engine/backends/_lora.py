"""LoRA adapters at serving time, read strictly: what would not be applied exactly is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tunesmith.errors import ModelError
from tunesmith.models.adapter import CONFIG_FILE, read_weights
from tunesmith.models.new_tokens import ROWS_FILE

__all__ = ["Factors", "LoraWeights", "is_plain_lora", "read_lora", "refuse_another_base"]

_TENSOR = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<factor>[AB])\.weight$")

# Settings of peft that change nothing of B @ A (or that are read below); any other one must be unset for the fast path.
_HARMLESS = frozenset(
    {
        "alpha_pattern", "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config",
        "exclude_modules", "fan_in_fan_out", "inference_mode", "layers_pattern",
        "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_config",
        "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
        "runtime_config", "target_modules", "task_type", "use_rslora",
    }
)  # fmt: skip
_UNSET: tuple[Any, ...] = (None, False, "none", [], {})
# Starts that leave the base's weights alone; the others (pissa, olora, corda, loftq, lora_ga) subtract from them.
_KEEPS_BASE: tuple[Any, ...] = (None, True, False, "gaussian", "eva", "orthogonal", "mica")


class Factors(NamedTuple):
    """One module's LoRA, float32 and transposed: down [inputs, rank], up [rank, outputs] with the scaling in it."""

    down: Tensor
    up: Tensor


LoraWeights = Mapping[str, Factors]


def is_plain_lora(folder: Path) -> bool:
    """Whether the adapter in `folder` is a LoRA whose whole mathematics is B @ A, without new tokens of its own."""
    if (folder / ROWS_FILE).is_file():
        return False
    config = json.loads((folder / CONFIG_FILE).read_text())
    return config.get("peft_type") == "LORA" and not _beyond_low_rank(config)


def refuse_another_base(folder: Path) -> None:
    """Raise ModelError for an adapter whose start changed the base: on the base as it is, its answers would be wrong.

    Tunesmith's own methods with such a start save the plain LoRA that has the same effect.
    """
    start = json.loads((folder / CONFIG_FILE).read_text()).get("init_lora_weights")
    if start not in _KEEPS_BASE:
        raise ModelError(
            f"The adapter in {folder} belongs to base weights that its start {start!r} changed.",
            hint="Save it with peft's path_initial_model_for_weight_conversion, which makes it a plain LoRA.",
        )


def read_lora(folder: Path, model: nn.Module) -> LoraWeights:
    """Module name -> factors of the peft LoRA in `folder`.

    Raises ModelError for anything that would not be applied exactly: another method, an option that is not served, a
    tensor without a module, a wrong shape, a missing half, values that are not finite.
    """
    config = json.loads((folder / CONFIG_FILE).read_text())
    _check_config(config, folder)
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in read_weights(folder).items():
        match = _TENSOR.match(name)
        if match is None:
            raise ModelError(f"The adapter in {folder} has the tensor {name!r}, which is not served.")
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"The adapter's tensor {name!r} has values that are not finite.")
        halves.setdefault(match["module"], {})[match["factor"]] = tensor.float()
    if not halves:
        raise ModelError(f"The adapter in {folder} has no tensors.")
    modules = dict(model.named_modules())
    return {name: _factors(name, pair, modules.get(name), config) for name, pair in sorted(halves.items())}


def _check_config(config: dict[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA" or _beyond_low_rank(config):
        raise ModelError(f"The adapter in {folder} is not a plain LoRA.")


def _beyond_low_rank(config: dict[str, Any]) -> list[str]:
    """Settings in use that may change the mathematics; one that is not known here may."""
    start = [] if config.get("init_lora_weights") in _KEEPS_BASE else ["init_lora_weights"]
    known = _HARMLESS | {"init_lora_weights"}
    return start + sorted(name for name, value in config.items() if name not in known and value not in _UNSET)


def _factors(name: str, pair: dict[str, Tensor], module: nn.Module | None, config: dict[str, Any]) -> Factors:
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 2 or isinstance(module, nn.Embedding):
        raise ModelError(f"The adapter tunes {name!r}, which is not a linear layer of this base model.")
    if set(pair) != {"A", "B"}:
        raise ModelError(f"The adapter has only lora_{next(iter(pair))} of {name!r}.")
    # GPT-2's Conv1D keeps its weight as [inputs, outputs], torch's Linear as [outputs, inputs].
    outputs, inputs = weight.shape if isinstance(module, nn.Linear) else reversed(weight.shape)
    down, up = pair["A"], pair["B"]
    rank = down.shape[0]
    if down.shape != (rank, inputs) or up.shape != (outputs, rank):
        raise ModelError(
            f"The adapter's factors of {name!r} are {tuple(down.shape)} and {tuple(up.shape)}; "
            f"the layer takes (rank, {inputs}) and ({outputs}, rank)."
        )
    alpha = _pattern_value(config.get("alpha_pattern") or {}, name, config.get("lora_alpha", 8))
    # Rank-stabilised LoRA divides by the root of the rank (Kalajdzievski 2023, arXiv 2312.03732).
    scaling = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    return Factors(down.T.contiguous().to(weight.device), (up * scaling).T.contiguous().to(weight.device))


def _pattern_value(patterns: dict[str, float], module: str, default: float) -> float:
    """The value of the first pattern that ends the module's name, as peft matches `alpha_pattern`."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(value)
    return float(default)
