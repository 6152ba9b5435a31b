"""Which layers of a model a method adapts: chosen by the last part of their names, and from the top down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from tunesmith.errors import ModelError, nearest
from tunesmith.models.fused_layers import fuse_layers
from tunesmith.models.fused_lora import fuse_lora_layers
from tunesmith.models.method import Method
from tunesmith.models.peft_library import PeftModel, get_peft_model

__all__ = ["Targeted", "inject", "linear_layers"]


class Targeted(Method):
    """A method that adapts chosen linear layers.

    `targets` is `all-linear` (every linear layer but the output head) or module names such as `q_proj`. `last_layers`
    adapts only the last k decoder layers (0: all): the backward pass then stops there, which saves time and memory.
    """

    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    last_layers: int = Field(default=0, ge=0)

    def choice(self, model: Any) -> dict[str, Any]:
        """The choice of layers as peft's configurations take it.

        Raises ModelError when a target matches no linear layer or there are fewer layers than `last_layers`.
        """
        self._check_targets(model)
        layers = int(model.config.num_hidden_layers)
        if self.last_layers > layers:
            raise ModelError(f"train.method.last_layers is {self.last_layers}, but the model has {layers} layers.")
        chosen: str | list[str] = self.targets if isinstance(self.targets, str) else list(self.targets)
        if not self.last_layers:
            return {"target_modules": chosen}
        # peft takes a choice of layers only together with module names.
        names = sorted({name.rsplit(".", 1)[-1] for name in linear_layers(model)})
        return {
            "target_modules": names if isinstance(self.targets, str) else chosen,
            "layers_to_transform": list(range(layers - self.last_layers, layers)),
        }

    @staticmethod
    def choice_of(config: Mapping[str, Any]) -> dict[str, Any]:
        """Inverse of `choice`: `targets` and `last_layers` of what peft wrote; layers named in full (as AdaLoRA does)
        are taken to be the last ones.
        """
        named = config["target_modules"]
        if isinstance(named, str):
            return {"targets": named, "last_layers": len(config.get("layers_to_transform") or ())}
        indices: set[int] = {int(found[1]) for name in named if (found := re.search(r"\.(\d+)\.", name))}
        last = max(indices) - min(indices) + 1 if indices and 0 not in indices else 0
        return {
            "targets": sorted({name.rsplit(".", 1)[-1] for name in named}),
            "last_layers": len(config.get("layers_to_transform") or ()) or last,
        }

    def target_layers(self, model: Any) -> list[str]:
        """Full names of the layers that `choice` chooses, in the model's order."""
        first = int(model.config.num_hidden_layers) - self.last_layers if self.last_layers else 0
        chosen = []
        for name in linear_layers(model):
            index = re.search(r"\.(\d+)\.", name)
            inside = not self.last_layers or (index is not None and int(index[1]) >= first)
            if inside and (isinstance(self.targets, str) or name.rsplit(".", 1)[-1] in self.targets):
                chosen.append(name)
        return chosen

    def _check_targets(self, model: Any) -> None:
        if isinstance(self.targets, str):
            return
        known = {name.rsplit(".", 1)[-1] for name in linear_layers(model)}
        for target in self.targets:
            if target not in known:
                close = nearest(target, known)
                raise ModelError(
                    f"train.method.targets: the model has no linear layer {target!r}.",
                    hint=(f"Did you mean {close!r}? " if close else "") + f"It has: {', '.join(sorted(known))}.",
                )


def linear_layers(model: Any) -> dict[str, nn.Linear]:
    """Full name -> linear layer, of all but the output head."""
    head = model.get_output_embeddings()
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    }


def inject(model: Any, config: Any, seed: int) -> PeftModel:
    """`model` with peft's trainable modules of `config`, initialised from `seed`; what can be fused is fused."""
    torch.manual_seed(seed)
    wrapped = get_peft_model(model, config)
    fuse_lora_layers(wrapped)
    fuse_layers(wrapped)
    return wrapped
