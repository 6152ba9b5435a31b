"""What the methods of the LoRA family share: their options, and how a trained difference is saved as plain LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from tunesmith.models.adapter import Adapter, plain_config
from tunesmith.models.peft_library import LoraConfig
from tunesmith.models.targets import Targeted

__all__ = ["Factors", "LowRank", "as_plain_lora", "difference_of_factors"]


class Factors(NamedTuple):
    """A low-rank change of one layer: `up` [out, r] times `down` [r, in], with every scaling in it."""

    down: Tensor
    up: Tensor


class LowRank(Targeted):
    """Options of a method that adds (alpha / rank) B A to the weight of each chosen layer."""

    rank: int = Field(default=16, ge=1, le=1024)
    alpha: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    @classmethod
    def of_adapter(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Those of peft's LoRA, when it is of this very method; else those that the method saved itself."""
        if config.get("peft_type") != "LORA" or "options" in config:
            return super().of_adapter(config)
        if cls.type_name() != ("DORA" if config.get("use_dora") else "LORA"):
            return None
        known = {"rank": config["r"], "alpha": config["lora_alpha"], "dropout": config["lora_dropout"]}
        return known | cls.choice_of(config)

    def lora_config(self, model: Any, **more: Any) -> LoraConfig:
        """peft's configuration of these options; `more` sets or replaces some."""
        alpha = self.alpha if self.alpha is not None else 2 * self.rank
        options = {"r": self.rank, "lora_alpha": alpha, "lora_dropout": self.dropout, "task_type": "CAUSAL_LM"}
        return LoraConfig(**options | self.choice(model) | more)


def difference_of_factors(state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The plain LoRA of twice the rank that is `state` minus `start`.

    B A - B0 A0 = [B, -B0] [A; A0]; both are named as in peft's files. For methods that took B0 A0 out of the base
    weight at the start (PiSSA, OLoRA), this is the change to the original weight.
    """
    result = {}
    for name, tensor in state.items():
        is_a = name.endswith(".lora_A.weight")
        result[name] = torch.cat([tensor, start[name]], 0) if is_a else torch.cat([tensor, -start[name]], 1)
    return result


def as_plain_lora(layers: Mapping[str, Factors], rank: int) -> Adapter:
    """An adapter of type LORA with scaling 1 in every layer; `layers` by their full name in the base model."""
    ranks = {name: int(factors.down.shape[0]) for name, factors in layers.items()}
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=sorted(layers),
        rank_pattern={name: found for name, found in ranks.items() if found != rank},
        alpha_pattern={name: found for name, found in ranks.items() if found != rank},
        task_type="CAUSAL_LM",
    )
    tensors = {}
    for name, factors in layers.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = factors.down
        tensors[f"base_model.model.{name}.lora_B.weight"] = factors.up
    return Adapter(plain_config(config), tensors)
