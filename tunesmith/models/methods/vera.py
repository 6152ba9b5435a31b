"""VeRA: random projections shared by all layers, with trained scalings (Kopiczko et al. 2023, arXiv:2310.11454)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tunesmith.models.peft_library import PeftModel, VeraConfig
from tunesmith.models.targets import Targeted, inject

__all__ = ["Vera"]


class Vera(Targeted):
    """W + diag(b) B diag(d) A with frozen random A, B shared by all layers; b and d are trained (arXiv:2310.11454).

    Starts as a no-op because b is zero. Choose it to keep thousands of adapters: it trains a tenth of LoRA's
    parameters or fewer, at `rank` numbers plus the outputs of each layer. It costs more computation than LoRA, because
    the rank must be high (256), and takes a learning rate about ten times higher (5e-3). The projections are saved
    with the adapter, so that it loads the same everywhere. It can be merged.
    """

    rank: int = Field(default=256, ge=1, le=4096)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    initial: float = Field(default=0.1, gt=0.0, le=1.0)

    @classmethod
    def of_adapter(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Those of peft's VeRA; the projections are among the tensors."""
        if config.get("peft_type") != cls.type_name():
            return None
        known = {"rank": config["r"], "dropout": config["vera_dropout"], "initial": config["d_initial"]}
        return known | cls.choice_of(config)

    def wrap(self, model: Any, seed: int) -> PeftModel:
        """The model with trainable scalings; the projections are drawn from `seed`."""
        config = VeraConfig(
            r=self.rank,
            vera_dropout=self.dropout,
            d_initial=self.initial,
            projection_prng_key=seed,
            save_projection=True,
            task_type="CAUSAL_LM",
            **self.choice(model),
        )
        return inject(model, config, seed)
