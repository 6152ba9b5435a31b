"""Random LoRA adapters in peft's format, made in a moment: for tests of whatever loads or serves adapters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from tunesmith.models.adapter import adapter_digest
from tunesmith.models.weights import load_base

__all__ = ["make_adapter"]


def make_adapter(
    base: Path,
    folder: Path,
    *,
    rank: int = 4,
    targets: str | Sequence[str] = "all-linear",
    seed: int = 0,
    rslora: bool = False,
) -> str:
    """Write an adapter of the model in `base` whose B factors are normal with deviation 0.2; returns its digest."""
    chosen = targets if isinstance(targets, str) else list(targets)
    with torch.random.fork_rng(), warnings.catch_warnings():
        # peft still asks transformers by a name that transformers is about to drop.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*is_gradient_checkpointing.*")
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=16, target_modules=chosen, use_rslora=rslora)
        model = get_peft_model(load_base(base, "float32"), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0.0, 0.2)
        model.save_pretrained(folder)
    return adapter_digest(folder)
