"""The data-driven start of LoRA: A spans the main directions of what a layer really sees."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from tunesmith.errors import ModelError
from tunesmith.models.peft_library import EvaConfig, LoraConfig, get_eva_state_dict
from tunesmith.types.conversation import Rendered

__all__ = ["EVA_ROWS", "start_from_inputs"]

EVA_ROWS = 64


def start_from_inputs(model: Any, rows: Sequence[Rendered]) -> None:
    """Set A of every LoRA layer of the peft `model` to the leading principal directions of its inputs.

    Looks at `EVA_ROWS` evenly spaced rows, all as one batch, so that the result depends on nothing but the rows.
    Explained Variance Adaptation, Paischer et al. 2024, arXiv:2410.07170, eq. 3.

    Raises ModelError when the rows hold fewer tokens than the largest rank.
    """
    chosen = rows[:: max(1, -(-len(rows) // EVA_ROWS))]
    largest = max(max(module.r.values()) for module in model.modules() if hasattr(module, "lora_A"))
    tokens = sum(len(row.token_ids) for row in chosen)
    if tokens < largest:
        raise ModelError(
            f"train.method.init eva needs at least as many tokens as the rank {largest}; the rows have {tokens}.",
            hint="Lower train.method.rank or use init: default.",
        )
    longest = max(len(row.token_ids) for row in chosen)
    ids = torch.zeros(len(chosen), longest, dtype=torch.long)
    visible = torch.zeros_like(ids)
    for index, row in enumerate(chosen):
        ids[index, : len(row.token_ids)] = torch.tensor(row.token_ids)
        visible[index, : len(row.token_ids)] = 1
    batch = {"input_ids": ids.to(model.device), "attention_mask": visible.to(model.device)}
    attention = model.config._attn_implementation
    # The batch is padded rows, not a prefix tree.
    model.set_attn_implementation("sdpa")
    try:
        found = get_eva_state_dict(model, [batch], peft_config=_as_eva(model), show_progress_bar=False)
    finally:
        model.set_attn_implementation(attention)
    with torch.no_grad():
        for name, directions in found.items():
            model.get_submodule(name).lora_A["default"].weight.copy_(directions)


def _as_eva(model: Any) -> LoraConfig:
    """The adapter's configuration with what the decomposition reads; `rho` 1 keeps every layer's rank."""
    config = copy.copy(model.peft_config["default"])
    config.eva_config = EvaConfig(rho=1.0)
    return config
