"""What methods share that train weights of the base themselves: nothing is added, nothing is random."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from tunesmith.models.adapter import Adapter
from tunesmith.models.method import Method
from tunesmith.models.parameters import exchange_parameters, train_all_but
from tunesmith.models.start import leave_start

__all__ = ["WholeWeights"]


class WholeWeights(Method):
    """All parameters of the base but `frozen` ones are trained; they start as the base's and are saved whole."""

    @abstractmethod
    def frozen(self, model: Any) -> frozenset[int]:
        """`id` of every parameter of `model` that stays. Raises ModelError when the options do not fit the model."""

    def wrap(self, model: Any, seed: int) -> Any:
        """The same model with its other weights trainable; raises ModelError when the options do not fit."""
        train_all_but(model, self.frozen(model))
        leave_start(model)
        return model

    def attach(self, model: Any, adapter: Adapter) -> Any:
        """The base with the saved weights in place of its own."""
        exchange_parameters(model, adapter.tensors, self.frozen(model))
        return model

    def merge(self, model: Any, adapter: Adapter) -> Any:
        """The same: the saved weights are the merged model's."""
        return self.attach(model, adapter)
