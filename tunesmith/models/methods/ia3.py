"""(IA)3: trained vectors rescale keys, values and the inside of the MLP (Liu et al. 2022, arXiv:2205.05638)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tunesmith.errors import ModelError, nearest
from tunesmith.models.method import Method
from tunesmith.models.peft_library import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
    IA3Config,
    PeftModel,
)
from tunesmith.models.targets import inject, linear_layers

__all__ = ["Ia3"]


class Ia3(Method):
    """One trained vector per layer rescales its output, or its input for `feedforward` layers (arXiv:2205.05638).

    Starts as a no-op because the vectors are ones. Choose it when an adapter must be as small as can be: some
    kilobytes, a hundredth of LoRA's parameters. It learns less, wants a learning rate ten times LoRA's (5e-3), and
    costs about the time of LoRA. `targets: auto` is keys, values and the MLP's last layer, as peft knows them for the
    model's family; else name the layers, and those of them in `feedforward`. It can be merged.
    """

    targets: Literal["auto"] | tuple[str, ...] = "auto"
    feedforward: tuple[str, ...] = ()

    @classmethod
    def of_adapter(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Those of peft's (IA)3, its layers by name."""
        if config.get("peft_type") != cls.type_name():
            return None
        return {"targets": config["target_modules"], "feedforward": config["feedforward_modules"]}

    def wrap(self, model: Any, seed: int) -> PeftModel:
        """The model with trainable vectors; raises ModelError when the layers to rescale are not known."""
        targets, feedforward = list(self.targets), list(self.feedforward)
        if isinstance(self.targets, str):
            family = str(model.config.model_type)
            targets = list(TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(family, ()))
            feedforward = list(TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(family, ()))
            if not targets:
                raise ModelError(f"train.method.targets: auto knows nothing of models of type {family!r}: name layers.")
            if self.feedforward:
                raise ModelError("train.method.feedforward only goes with named targets.")
        known = {name.rsplit(".", 1)[-1] for name in linear_layers(model)}
        for name in targets:
            if name not in known:
                close = nearest(name, known)
                raise ModelError(
                    f"train.method.targets: the model has no linear layer {name!r}.",
                    hint=(f"Did you mean {close!r}? " if close else "") + f"It has: {', '.join(sorted(known))}.",
                )
        if not set(feedforward) <= set(targets):
            raise ModelError(f"train.method.feedforward {sorted(set(feedforward) - set(targets))} are not in targets.")
        config = IA3Config(target_modules=targets, feedforward_modules=feedforward, task_type="CAUSAL_LM")
        return inject(model, config, seed)
