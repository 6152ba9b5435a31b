"""QLoRA: low-rank adapters on a base whose weights are kept in four bits (Dettmers et al. 2023, arXiv:2305.14314)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from tunesmith.models.adapter import Adapter, load_adapter_state
from tunesmith.models.low_rank import LowRank
from tunesmith.models.merged import merge_peft
from tunesmith.models.peft_library import LoraConfig, PeftModel, get_peft_model
from tunesmith.models.quantised import expand_layers, quantise_layers
from tunesmith.models.targets import inject

__all__ = ["Qlora"]


class Qlora(LowRank):
    """LoRA on a frozen base in 4-bit NormalFloat, computed in the base's precision (arXiv:2305.14314).

    Starts as the four-bit base, which is not the base itself: the distance is measured and stored with the checks.
    Choose it when the base does not fit into memory otherwise: weights take about a quarter of bfloat16's. It costs
    time, because weights are expanded in every pass, and some quality. `double` quantises the block sizes as well
    (0.4 bits less per weight). Runs on CUDA and on the CPU (pip install 'tunesmith[qlora]').

    The adapter belongs to the four-bit base it was trained on, so it is served on exactly that, as a variant next to
    the others, and not on the full base, where its answers would be others than those that were evaluated.
    """

    starts_as_base: ClassVar[bool] = False

    double: bool = True

    @property
    def replaces_base(self) -> bool:
        """Yes: by four-bit weights."""
        return True

    def wrap(self, model: Any, seed: int) -> PeftModel:
        """The model in four bits with trainable adapters. Raises MissingDependency without bitsandbytes."""
        config = self.lora_config(model)
        quantise_layers(model, self.double)
        return inject(model, config, seed)

    def export(self, model: Any, state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Adapter:
        """In our own format, so that nothing loads it onto another base than the four-bit one by mistake."""
        return Adapter(self.own_config(), dict(state))

    def attach(self, model: Any, adapter: Adapter) -> Any:
        """The base in four bits with the saved adapter."""
        config = self.lora_config(model)
        quantise_layers(model, self.double)
        return self._with_adapter(model, config, adapter)

    def merge(self, model: Any, adapter: Adapter) -> Any:
        """The adapter in the weights that it was trained on: those of the base after rounding to four bits."""
        config = self.lora_config(model)
        quantise_layers(model, self.double)
        expand_layers(model)
        return merge_peft(self._with_adapter(model, config, adapter))

    def _with_adapter(self, model: Any, config: LoraConfig, adapter: Adapter) -> PeftModel:
        with torch.random.fork_rng(devices=[]):
            wrapped = get_peft_model(model, config)
        load_adapter_state(wrapped, adapter.tensors)
        return wrapped
