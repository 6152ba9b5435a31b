"""LoRA: a frozen weight W plus a trained low-rank product (alpha / rank) B A (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import Field
from torch import nn

from tunesmith.errors import ModelError, nearest
from tunesmith.models.fused_layers import fuse_layers
from tunesmith.models.fused_lora import fuse_lora_layers
from tunesmith.models.method import Method

__all__ = ["Lora"]


class Lora(Method):
    """Low-rank adapters on linear layers (Hu et al. 2021, arXiv:2106.09685); starts as a no-op because B is zero.

    Choose it first: it costs little memory, saves a few megabytes and is served many at a time.

    `targets` is `all-linear` (every linear layer but the output head) or module names such as `q_proj`. `last_layers`
    adapts only the last k layers (0: all): the backward pass then stops there, which saves time and memory. `alpha`
    is 2 * rank unless given. With `dropout` 0 each layer runs as one fused autograd function.
    """

    rank: int = Field(default=16, ge=1, le=1024)
    alpha: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    last_layers: int = Field(default=0, ge=0)

    def wrap(self, model: Any, seed: int) -> PeftModel:
        """The model with trainable adapters, initialised from `seed`.

        Raises ModelError when a target matches no linear layer or there are fewer layers than `last_layers`.
        """
        self._check_targets(model)
        layers = int(model.config.num_hidden_layers)
        if self.last_layers > layers:
            raise ModelError(f"train.method.last_layers is {self.last_layers}, but the model has {layers} layers.")
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha if self.alpha is not None else 2 * self.rank,
            lora_dropout=self.dropout,
            target_modules=self._target_modules(model),
            layers_to_transform=list(range(layers - self.last_layers, layers)) if self._partial else None,
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(seed)
        wrapped = get_peft_model(model, config)
        fuse_lora_layers(wrapped)
        fuse_layers(wrapped)
        return wrapped

    @property
    def _partial(self) -> bool:
        return self.last_layers > 0

    def _target_modules(self, model: Any) -> str | list[str]:
        """peft takes a choice of layers only together with module names."""
        if isinstance(self.targets, str):
            return sorted(_linear_names(model)) if self._partial else self.targets
        return list(self.targets)

    def _check_targets(self, model: Any) -> None:
        if isinstance(self.targets, str):
            return
        known = _linear_names(model)
        for target in self.targets:
            if target not in known:
                close = nearest(target, known)
                raise ModelError(
                    f"train.method.targets: the model has no linear layer {target!r}.",
                    hint=(f"Did you mean {close!r}? " if close else "") + f"It has: {', '.join(sorted(known))}.",
                )


def _linear_names(model: Any) -> set[str]:
    """Last name part of every linear layer but the output head."""
    head = model.get_output_embeddings()
    return {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
