"""AdaLoRA: ranks move to the layers where they matter (Zhang et al. 2023, arXiv:2303.10512)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tunesmith.errors import ModelError
from tunesmith.models.adapter import Adapter
from tunesmith.models.device import device_of
from tunesmith.models.low_rank import Factors, as_plain_lora
from tunesmith.models.peft_library import AdaLoraConfig, PeftModel
from tunesmith.models.targets import Targeted, inject

__all__ = ["Adalora"]

_KEPT = "tunesmith_kept_ranks"


class Adalora(Targeted):
    """W + (alpha / rank) B diag(E) A, whose singular values E are pruned by importance (arXiv:2303.10512).

    Begins with `rank` directions in every layer; between the share `warmup` and the share 1 - `final` of the steps the
    total falls along a cubic curve to `target_rank` a layer, checked every `every` steps. Importance is |weight times
    gradient|, smoothed by `beta1`, times its uncertainty, smoothed by `beta2`. `orthogonality` weighs the penalty
    ||A A^T - I|| + ||B^T B - I||, averaged over the matrices, which is added to the loss.

    Starts as a no-op because E is zero. Choose it when the rank budget is tight and layers differ. It costs a pass over
    the adapter's weights and gradients per step; what is saved is plain LoRA with E folded in and pruned directions
    left out, so serving and merging cost what LoRA's do.
    """

    rank: int = Field(default=12, ge=2, le=1024)
    target_rank: int = Field(default=8, ge=1, le=1024)
    alpha: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    warmup: float = Field(default=0.1, ge=0.0, lt=1.0)
    final: float = Field(default=0.3, gt=0.0, lt=1.0)
    every: int = Field(default=1, ge=1)
    orthogonality: float = Field(default=0.1, ge=0.0)
    beta1: float = Field(default=0.85, gt=0.0, lt=1.0)
    beta2: float = Field(default=0.85, gt=0.0, lt=1.0)

    @model_validator(mode="after")
    def _prunes(self) -> Adalora:
        if self.target_rank >= self.rank:
            raise ValueError(f"target_rank ({self.target_rank}) must be below rank ({self.rank}); else use lora")
        if self.warmup + self.final >= 1.0:
            raise ValueError("warmup + final must be below 1.0 so that steps remain in which ranks move")
        return self

    def wrap(self, model: Any, seed: int) -> PeftModel:
        """The model with trainable singular triplets, initialised from `seed`."""
        config = AdaLoraConfig(
            init_r=self.rank,
            target_r=self.target_rank,
            lora_alpha=self.alpha if self.alpha is not None else 2 * self.rank,
            lora_dropout=self.dropout,
            deltaT=self.every,
            beta1=self.beta1,
            beta2=self.beta2,
            # The schedule is set in `after_step`, when the number of steps is known.
            total_step=3,
            tinit=0,
            tfinal=1,
            task_type="CAUSAL_LM",
            **self.choice(model),
        )
        return inject(model, config, seed)

    def penalty(self, model: Any) -> Tensor | None:
        """`orthogonality` times the mean over all A and B of the Frobenius norm of A A^T - I and B^T B - I."""
        if not self.orthogonality:
            return None
        norms = []
        for name, p in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                gram = p @ p.T if ".lora_A." in name else p.T @ p
                norms.append((gram - torch.eye(len(gram), device=p.device, dtype=p.dtype)).norm())
        return self.orthogonality * torch.stack(norms).mean()

    def after_step(self, model: Any, step: int, steps: int) -> None:
        """Update importances and prune to the step's budget; fix the ranks when the last phase begins."""
        allocator, inner = model.base_model.rankallocator, model.base_model.model
        config = allocator.peft_config
        config.total_step, config.tinit = steps, int(self.warmup * steps)
        config.tfinal = max(1, int(self.final * steps))
        last = steps - config.tfinal
        if last <= max(1, config.tinit):
            raise ModelError(
                f"AdaLoRA cannot move ranks in {steps} step(s) with warmup {self.warmup} and final {self.final}.",
                hint="Train more steps, or use train.method: {name: lora}.",
            )
        if step < last:
            allocator.update_and_allocate(inner, step)
        elif step == last:
            _, kept = allocator.update_and_allocate(inner, step, force_mask=True)
            allocator.reset_ipt()
            setattr(model, _KEPT, kept)
        else:
            allocator.mask_using_rank_pattern(inner, getattr(model, _KEPT))

    def extra_state(self, model: Any) -> dict[str, Tensor]:
        """Smoothed importances and uncertainties, and which directions stay once that is fixed."""
        allocator = model.base_model.rankallocator
        state = {f"importance.{name}": tensor.cpu() for name, tensor in allocator.exp_avg_ipt.items()}
        state |= {f"uncertainty.{name}": tensor.cpu() for name, tensor in allocator.exp_avg_unc.items()}
        kept: dict[str, list[bool]] = getattr(model, _KEPT, {})
        return state | {f"kept.{name}": torch.tensor(mask) for name, mask in kept.items()}

    def load_extra_state(self, model: Any, state: Mapping[str, Tensor]) -> None:
        """Inverse of `extra_state`."""
        allocator = model.base_model.rankallocator
        parts: dict[str, dict[str, Tensor]] = {"importance": {}, "uncertainty": {}, "kept": {}}
        for key, tensor in state.items():
            kind, name = key.split(".", 1)
            parts[kind][name] = tensor.to(device_of(model))
        allocator.exp_avg_ipt, allocator.exp_avg_unc = parts["importance"], parts["uncertainty"]
        # The last importance is overwritten before it is read; its names tell peft which averages exist.
        allocator.ipt = {name: torch.zeros_like(tensor) for name, tensor in parts["importance"].items()}
        if parts["kept"]:
            setattr(model, _KEPT, {name: mask.tolist() for name, mask in parts["kept"].items()})

    def export(self, model: Any, state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Adapter:
        """Plain LoRA: A rows times E, B columns times the scaling, without directions whose E is zero."""
        layers = {}
        for name, module in model.get_base_model().named_modules():
            if not hasattr(module, "lora_E"):
                continue
            a, b, e = (state[f"base_model.model.{name}.lora_{part}"] for part in "ABE")
            kept = (e.squeeze(1) != 0).nonzero().squeeze(1)
            if not len(kept):
                kept = torch.tensor([0])  # a layer without any direction keeps one that is zero
            scaling = module.scaling["default"] / (float(module.ranknum["default"]) + 1e-5)
            layers[name] = Factors(a[kept] * e[kept], b[:, kept] * scaling)
        return as_plain_lora(layers, self.target_rank)
