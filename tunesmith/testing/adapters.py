"""Random adapters in peft's format, made in a moment: for tests of whatever loads or serves adapters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tunesmith.models.adapter import AdapterIdentity, adapter_digest, save_adapter
from tunesmith.models.attach import METHODS
from tunesmith.models.method import Method
from tunesmith.models.peft_library import IA3Config, LoraConfig, OFTConfig, PeftConfig, get_peft_model
from tunesmith.models.weights import load_base, resolve_base
from tunesmith.plugins import load
from tunesmith.types.recipe import ModelSpec

__all__ = ["VARIANTS", "make_adapter", "make_method_adapter", "make_peft_adapter", "make_variant"]


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
    config = LoraConfig(r=rank, lora_alpha=16, target_modules=chosen, use_rslora=rslora)
    return make_peft_adapter(base, folder, config, seed=seed, randomise="lora_B")


VARIANTS: tuple[str, ...] = ("dora", "ia3", "oft")
"""Methods that `make_variant` knows and that are more than a plain LoRA."""


def make_variant(base: Path, folder: Path, kind: str, *, seed: int = 0) -> str:
    """Write a random adapter of one of `VARIANTS`; returns its digest."""
    configs: dict[str, PeftConfig] = {
        "dora": LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", use_dora=True),
        "ia3": IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "oft": OFTConfig(r=0, oft_block_size=4, target_modules=["q_proj", "v_proj"], bias="none"),
    }
    return make_peft_adapter(base, folder, configs[kind], seed=seed)


def make_method_adapter(base: Path, folder: Path, name: str, *, seed: int = 0, **options: Any) -> str:
    """Write what the method plugin `name` saves after its trained tensors moved at random; returns the digest."""
    method = load(METHODS, name).model_validate(options)
    if not isinstance(method, Method):
        raise TypeError(f"{name} is not a method")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*is_gradient_checkpointing.*")
        model = method.wrap(load_base(base, "float32"), seed)
        start = method.start(model)
        torch.manual_seed(seed)
        moved = {key: tensor + 0.1 * torch.randn_like(tensor) for key, tensor in start.items()}
        identity = AdapterIdentity(
            base=str(base),
            base_digest=resolve_base(ModelSpec(base=str(base)), base).digest,
            template_digest="",
            tokenizer_digest="",
        )
        return save_adapter(method.export(model, moved, start), identity, folder)


def make_peft_adapter(base: Path, folder: Path, config: PeftConfig, *, seed: int = 0, randomise: str = "") -> str:
    """Write an adapter of any kind that peft knows; returns its digest.

    Trained tensors with `randomise` in their name get normal noise of deviation 0.2, so that the adapter has an effect.
    """
    with torch.random.fork_rng(), warnings.catch_warnings():
        # peft still asks transformers by a name that transformers is about to drop.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*is_gradient_checkpointing.*")
        torch.manual_seed(seed)
        model = get_peft_model(load_base(base, "float32"), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and randomise in name:
                    parameter += 0.2 * torch.randn_like(parameter)
        model.save_pretrained(folder)
    return adapter_digest(folder)
