"""Freeze tuning: the last decoder layers are trained whole, everything below them stays (Lee et al. 2019)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tunesmith.errors import ModelError
from tunesmith.models.adapter import Adapter
from tunesmith.models.method import Method
from tunesmith.models.parameters import decoder_layers, exchange_parameters, train_all_but
from tunesmith.models.start import keep_start

__all__ = ["Freeze"]


class Freeze(Method):
    """All weights of the last `last_layers` decoder layers are trained (Lee et al. 2019, arXiv:1911.03090).

    Starts as the base itself. The frozen layers below are computed once for the whole run where memory allows, so a
    step costs only the trained layers: the cheapest method per step on a small data set. Choose it for style and
    format, with a learning rate like full fine-tuning's (5e-5); the saved weights are those layers whole.
    """

    last_layers: int = Field(default=1, ge=1)

    def wrap(self, model: Any, seed: int) -> Any:
        """The same model with only its last layers trainable; raises ModelError when it has fewer."""
        train_all_but(model, self._frozen(model))
        keep_start(model)
        return model

    def attach(self, model: Any, adapter: Adapter) -> Any:
        """The base with the saved layers in place of its own."""
        exchange_parameters(model, adapter.tensors, self._frozen(model))
        return model

    def _frozen(self, model: Any) -> frozenset[int]:
        layers = decoder_layers(model)
        if self.last_layers > len(layers):
            raise ModelError(
                f"train.method.last_layers is {self.last_layers}, but the model has {len(layers)} layers.",
                hint="To train everything: train.method: {name: full}",
            )
        trained = {id(parameter) for layer in list(layers)[-self.last_layers :] for parameter in layer.parameters()}
        return frozenset(id(parameter) for parameter in model.parameters()) - trained
