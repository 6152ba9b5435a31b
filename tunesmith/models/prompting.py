"""What the methods that train virtual tokens share: their start, their rows, how they are saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import AutoTokenizer

from tunesmith.errors import ModelError
from tunesmith.models.adapter import Adapter
from tunesmith.models.method import Method
from tunesmith.models.prefix_keys import PrefixKeys, activations, mlp, prefix_shape, table
from tunesmith.models.start import keep_start
from tunesmith.models.virtual import VirtualTokens, install, virtual_ids
from tunesmith.models.virtual_adapters import prefix_adapter

__all__ = ["DeepPrompts", "VirtualMethod"]


class VirtualMethod(Method):
    """A method whose whole adapter is virtual tokens; the base's weights are never touched."""

    starts_as_base: ClassVar[bool] = False

    tokens: int = Field(default=20, ge=1, le=1024)
    text: str = ""

    def virtual_ids(self) -> tuple[int, ...]:
        """The ids that stand in front of every row."""
        return virtual_ids(self.tokens)

    def _install(self, model: Any, virtual: VirtualTokens) -> Any:
        """`model` with `virtual` as its only trained part."""
        longest = int(model.config.max_position_embeddings)
        if self.tokens >= longest:
            raise ModelError(f"train.method.tokens is {self.tokens}, but the model's context is {longest} tokens.")
        model.requires_grad_(False)
        install(model, virtual.to(model.device))
        keep_start(model)
        return model

    def _start_tokens(self, model: Any, seed: int) -> list[int]:
        """Real token ids [P] to start from: those of `text`, repeated or cut to fit, or random ones."""
        if not self.text:
            generator = torch.Generator().manual_seed(seed)
            return torch.randint(int(model.config.vocab_size), (self.tokens,), generator=generator).tolist()
        tokenizer = AutoTokenizer.from_pretrained(model.name_or_path, local_files_only=True)
        found = list(tokenizer(self.text, add_special_tokens=False)["input_ids"])
        if not found:
            raise ModelError(f"train.method.text {self.text!r} has no tokens.")
        return (found * (-(-self.tokens // len(found))))[: self.tokens]


class DeepPrompts(VirtualMethod):
    """Keys and values of virtual tokens in every layer."""

    reparameterise: bool
    hidden: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _start_can_be_given(self) -> DeepPrompts:
        if self.reparameterise and self.text:
            raise ValueError("text cannot be the start of keys and values that an MLP gives: set reparameterise: false")
        return self

    def wrap(self, model: Any, seed: int) -> Any:
        """The model with trained keys and values: what the base gives to real tokens, or an MLP's from `seed`."""
        shape = prefix_shape(model.config)
        if self.reparameterise:
            encoder = self._mlp(model, seed)
        else:
            encoder = table(activations(model, self._start_tokens(model, seed)))
        return self._install(model, PrefixKeys(self.tokens, shape, encoder))

    def export(self, model: Any, state: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Adapter:
        """The keys and values themselves; the MLP is folded away."""
        encoder = (
            self._mlp(model, 0)
            if self.reparameterise
            else nn.Embedding(self.tokens, prefix_shape(model.config).columns)
        )
        marker = ".encoder."
        encoder.load_state_dict({name.split(marker, 1)[1]: tensor for name, tensor in state.items()})
        with torch.no_grad():
            return prefix_adapter(model, PrefixKeys(self.tokens, prefix_shape(model.config), encoder).keys_and_values())

    def _mlp(self, model: Any, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return mlp(self.tokens, int(model.config.hidden_size), self.hidden, prefix_shape(model.config).columns)
