"""Freeze tuning: the last decoder layers are trained whole, everything below them stays (Lee et al. 2019)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tunesmith.errors import ModelError
from tunesmith.models.parameters import decoder_layers
from tunesmith.models.whole_weights import WholeWeights

__all__ = ["Freeze"]


class Freeze(WholeWeights):
    """All weights of the last `last_layers` decoder layers are trained (Lee et al. 2019, arXiv:1911.03090).

    Starts as the base itself. The frozen layers below are computed once for the whole run where memory allows, so a
    step costs only the trained layers: the cheapest method per step on a small data set. Choose it for style and
    format, with a learning rate like full fine-tuning's (5e-5); the saved weights are those layers whole.
    """

    last_layers: int = Field(default=1, ge=1)

    def frozen(self, model: Any) -> frozenset[int]:
        """Everything below the last layers, and beside them; raises ModelError when there are fewer layers."""
        layers = decoder_layers(model)
        if self.last_layers > len(layers):
            raise ModelError(
                f"train.method.last_layers is {self.last_layers}, but the model has {len(layers)} layers.",
                hint="To train everything: train.method: {name: full}",
            )
        trained = {id(parameter) for layer in list(layers)[-self.last_layers :] for parameter in layer.parameters()}
        return frozenset(id(parameter) for parameter in model.parameters()) - trained
