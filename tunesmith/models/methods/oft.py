"""OFT: the weights are rotated, not added to (Qiu et al. 2023, arXiv:2306.07280)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tunesmith.errors import ModelError
from tunesmith.models.peft_library import OFTConfig, PeftModel
from tunesmith.models.targets import Targeted, inject, linear_layers

__all__ = ["Oft"]


class Oft(Targeted):
    """W R with a block-diagonal rotation R of the inputs, R = (I + Q)(I - Q)^-1, Q skew (Qiu et al. 2023).

    arXiv:2306.07280. Starts as a no-op because Q is zero, so R is the identity. Choose it to stay close to the base:
    angles between neurons are kept, which forgets less. It costs about the time of LoRA plus the rotations, which are
    computed with five terms of the Neumann series, or exactly (a matrix inverse per block) with `exact: true`.
    `block_size` must divide the input size of every target layer. It can be merged.
    """

    block_size: int = Field(default=32, ge=2)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    exact: bool = False

    @classmethod
    def of_adapter(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Those of peft's OFT."""
        if config.get("peft_type") != cls.type_name():
            return None
        known = {"block_size": config["oft_block_size"], "dropout": config["module_dropout"]}
        return known | {"exact": not config["use_cayley_neumann"]} | cls.choice_of(config)

    def wrap(self, model: Any, seed: int) -> PeftModel:
        """The model with trainable rotations; raises ModelError for a block size that does not divide a layer."""
        choice = self.choice(model)
        layers = linear_layers(model)
        for name in self.target_layers(model):
            size = layers[name].in_features
            if size % self.block_size:
                raise ModelError(
                    f"train.method.block_size {self.block_size} does not divide the {size} inputs of {name}.",
                    hint=f"{_largest_divisor(size, self.block_size)} does.",
                )
        config = OFTConfig(
            r=0,
            oft_block_size=self.block_size,
            module_dropout=self.dropout,
            use_cayley_neumann=not self.exact,
            task_type="CAUSAL_LM",
            **choice,
        )
        return inject(model, config, seed)


def _largest_divisor(number: int, limit: int) -> int:
    return max(size for size in range(1, limit + 1) if number % size == 0)
