"""Bottleneck adapters in each decoder layer (Houlsby et al. 2019; Pfeiffer et al. 2021)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field

from tunesmith.models.adapter import Adapter, load_adapter_state
from tunesmith.models.bottleneck_layers import Place, insert_bottlenecks
from tunesmith.models.fused_layers import fuse_layers
from tunesmith.models.method import Method
from tunesmith.models.start import keep_start

__all__ = ["BottleneckAdapters"]


class BottleneckAdapters(Method):
    """y + U relu(D y + d) + u after parts of each decoder layer; the base is frozen (Houlsby et al. 2019).

    `houlsby` puts one after the attention and one after the MLP (arXiv:1902.00751), `pfeiffer` only after the MLP
    (arXiv:2005.00247), each before the residual connection. Starts as a no-op because U and u are zero. Choose it
    where a change must not be linear in the weights, or to continue work done with adapters. It costs extra layers in
    every forward pass, in serving too: it cannot be merged and is served as a variant of the base.
    """

    placement: Literal["houlsby", "pfeiffer"] = "houlsby"
    width: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)

    def wrap(self, model: Any, seed: int) -> Any:
        """The model with trainable bottlenecks, initialised from `seed`."""
        torch.manual_seed(seed)
        insert_bottlenecks(model, self._places, self.width, self.dropout)
        fuse_layers(model)
        keep_start(model)
        return model

    def attach(self, model: Any, adapter: Adapter) -> Any:
        """The base with the saved bottlenecks."""
        with torch.random.fork_rng(devices=[]):
            insert_bottlenecks(model, self._places, self.width, self.dropout)
        load_adapter_state(model, adapter.tensors)
        return model

    @property
    def _places(self) -> tuple[Place, ...]:
        return ("attention", "mlp") if self.placement == "houlsby" else ("mlp",)
