"""LoRA: a frozen weight W plus a trained low-rank product (alpha / rank) B A (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from tunesmith.errors import ModelError
from tunesmith.models.adapter import Adapter
from tunesmith.models.eva import start_from_inputs
from tunesmith.models.low_rank import LowRank, difference_of_factors
from tunesmith.models.method import ParameterGroup
from tunesmith.models.peft_library import PeftModel
from tunesmith.models.start import keep_start
from tunesmith.models.targets import inject
from tunesmith.types.conversation import Rendered

__all__ = ["Lora"]


class Lora(LowRank):
    """Low-rank adapters on linear layers, W + (alpha / rank) B A (Hu et al. 2021, arXiv:2106.09685).

    Starts as a no-op because B is zero. Choose it first: it costs little memory, saves a few megabytes, and many are
    served at a time. `alpha` is 2 * rank unless given. With `dropout` 0 each layer runs as one fused function.

    `rslora` divides alpha by the root of the rank, so that high ranks keep learning (Kalajdzievski 2023,
    arXiv:2312.03732); alpha is then 16 unless given. `plus_ratio` lets B learn that many times faster than A, as LoRA+
    proposes with about 16 (Hayou et al. 2024, arXiv:2402.12354). `rank_pattern` and `alpha_pattern` give layers their
    own rank and alpha: the end of a layer's name, such as `down_proj` or `layers.5.mlp.up_proj`, or a regular
    expression for it; a layer with its own rank keeps alpha / rank unless it has its own alpha.

    `init` says where the factors begin. `default`: A random, B zero. `pissa`: the largest singular directions of W
    (Meng et al. 2024, arXiv:2404.02948); `olora`: the leading part of its QR decomposition (Buyukakyuz 2024,
    arXiv:2406.01775); both take that part out of W, so training begins as the base, and are saved as the difference,
    a plain LoRA of twice the rank. `eva`: A spans the main directions of each layer's inputs on up to 64 training rows
    (Paischer et al. 2024, arXiv:2410.07170), B zero; ranks stay as they were given.
    """

    free: ClassVar[frozenset[str]] = frozenset({"dropout", "plus_ratio"})

    rslora: bool = False
    init: Literal["default", "pissa", "olora", "eva"] = "default"
    plus_ratio: float = Field(default=1.0, ge=1.0, le=1000.0)
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}

    @classmethod
    def of_adapter(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Plain LoRA: the factors begin where they are, whatever they began with."""
        found = super().of_adapter(config)
        patterns = {name: config.get(name) or {} for name in ("rank_pattern", "alpha_pattern")}
        return found and {**found, **patterns, "rslora": bool(config.get("use_rslora")), "init": "default"}

    @property
    def replaces_base(self) -> bool:
        """Whether the start is taken out of the base's weights."""
        return self.init in ("pissa", "olora")

    def wrap(self, model: Any, seed: int) -> PeftModel:
        """The model with trainable adapters, initialised from `seed`.

        Raises ModelError when a target or pattern matches no layer or there are fewer layers than `last_layers`.
        """
        default = 16.0 if self.rslora else 2.0 * self.rank
        alpha = self.alpha if self.alpha is not None else default
        kept = {name: alpha * rank / self.rank for name, rank in self.rank_pattern.items()}
        config = self.lora_config(
            model,
            lora_alpha=alpha,
            use_rslora=self.rslora,
            init_lora_weights=self.init if self.replaces_base else True,
            rank_pattern=dict(self.rank_pattern),
            alpha_pattern=({} if self.rslora else kept) | self.alpha_pattern,
        )
        self._check_patterns(self.target_layers(model))
        wrapped = inject(model, config, seed)
        if self.replaces_base:
            keep_start(wrapped)
        return wrapped

    def start_from_rows(self, model: Any, rows: Sequence[Rendered]) -> None:
        """With `init: eva`, the directions of A from the inputs that `rows` give each layer."""
        if self.init == "eva":
            start_from_inputs(model, rows)

    def parameter_groups(self, model: Any) -> list[ParameterGroup]:
        """A and B, apart where B learns faster."""
        if self.plus_ratio == 1.0:
            return super().parameter_groups(model)
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        b = [parameter for name, parameter in trained if ".lora_B." in name]
        others = [parameter for name, parameter in trained if ".lora_B." not in name]
        return [ParameterGroup(others), ParameterGroup(b, self.plus_ratio)]

    def export(self, model: Any, state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Adapter:
        """Plain LoRA: what was trained, or its difference to a start that was taken out of the base."""
        adapter = super().export(model, state, start)
        config = adapter.config | {"init_lora_weights": True}
        if not self.replaces_base:
            return Adapter(config, adapter.tensors)
        # Twice the rank at the same scaling: alpha / r, or alpha / sqrt(r) with rslora.
        factor = 2**0.5 if self.rslora else 2
        config["r"] *= 2
        config["lora_alpha"] *= factor
        config["rank_pattern"] = {name: 2 * rank for name, rank in config["rank_pattern"].items()}
        config["alpha_pattern"] = {name: factor * alpha for name, alpha in config["alpha_pattern"].items()}
        return Adapter(config, difference_of_factors(state, start))

    def _check_patterns(self, layers: Sequence[str]) -> None:
        for field in ("rank_pattern", "alpha_pattern"):
            for pattern in getattr(self, field):
                if not any(re.match(rf"(.*\.)?({pattern})$", name) for name in layers):
                    raise ModelError(
                        f"train.method.{field}: {pattern!r} matches no adapted layer.",
                        hint=f"The first are {', '.join(layers[:7])}.",
                    )
