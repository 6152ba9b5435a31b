"""Adapters of every training method side by side: low-rank ones on the base itself, each other one as a variant of it.

A plain LoRA costs nothing but its factors and shares the base's forward with everybody (`_lora`). Any other method is a
module of its own, the one that training had (`tunesmith.models.attach`), on a structural copy of the base: other module
objects around the very same tensors, so a variant takes only the memory of what its method added or changed. Each step
runs one forward for the base with all its LoRAs and one for every variant that has tokens in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from tunesmith.engine.backends._lora import LoraWeights, is_plain_lora, read_lora, refuse_another_base
from tunesmith.engine.backends._lora_rows import ActiveAdapters
from tunesmith.models.attach import attach
from tunesmith.models.shared_copy import shared_copy
from tunesmith.models.virtual import virtual_tokens

__all__ = ["Adapters", "Forward", "Variant"]


class Variant(NamedTuple):
    """A causal language model that shares the base's unchanged tensors."""

    module: Any
    nbytes: int
    """bytes of the tensors it does not share"""
    virtual: int = 0
    """virtual tokens that stand in front of its every prompt"""


class Forward(NamedTuple):
    """One model call of a step: which of the step's slices (by index) go through which module."""

    module: Any
    members: list[int]


class Adapters:
    """The loaded adapters of one model by name."""

    def __init__(self, model: Any) -> None:
        self._base = model
        self._low_rank = ActiveAdapters(model)
        self._weights: dict[str, LoraWeights] = {}
        self._variants: dict[str, Variant] = {}
        # Copied once before any hook exists, and never run: reading an adapter does not touch the model that answers.
        self._blank = shared_copy(model)

    def names(self) -> tuple[str, ...]:
        """The loaded adapters."""
        return (*self._weights, *self._variants)

    def read(self, folder: Path) -> LoraWeights | Variant:
        """The adapter in `folder`, in the form it is served in. Raises ModelError for what does not fit exactly."""
        if is_plain_lora(folder):
            return read_lora(folder, self._blank)
        refuse_another_base(folder)
        attached = attach(shared_copy(self._blank), folder)
        module = attached.get_base_model() if hasattr(attached, "get_base_model") else attached
        return Variant(module, _own_bytes(module, self._base), virtual_tokens(module))

    def add(self, name: str, adapter: LoraWeights | Variant) -> None:
        """Serve `adapter` under `name`."""
        if isinstance(adapter, Variant):
            self._variants[name] = adapter
        else:
            self._weights[name] = adapter
            self._low_rank.add(name, adapter)

    def remove(self, name: str) -> None:
        """Forget an adapter."""
        if name in self._variants:
            del self._variants[name]
        else:
            del self._weights[name]
            self._low_rank.remove(name)

    def virtual(self, name: str | None) -> int:
        """Virtual tokens in front of every prompt under the adapter `name`."""
        return self._variants[name].virtual if name in self._variants else 0

    def nbytes(self, adapter: LoraWeights | Variant) -> int:
        """Memory an adapter takes beside the base model."""
        if isinstance(adapter, Variant):
            return adapter.nbytes
        return sum(factor.nbytes for factors in adapter.values() for factor in factors)

    def forwards(self, rows: Sequence[tuple[str | None, int]]) -> list[Forward]:
        """The model calls of a step with runs of (adapter or none, number of tokens); at most one for the base."""
        members: dict[str | None, list[int]] = {}
        for index, (name, _) in enumerate(rows):
            members.setdefault(name if name in self._variants else None, []).append(index)
        if None in members:
            order = self._low_rank.select([rows[index] for index in members[None]])
            members[None] = [members[None][place] for place in order]
        return [
            Forward(self._base if name is None else self._variants[name].module, chosen)
            for name, chosen in members.items()
        ]


def _own_bytes(module: nn.Module, base: nn.Module) -> int:
    """Bytes of the tensors of `module` that do not lie in the memory of `base`."""
    shared = {_place(tensor) for tensor in chain(base.parameters(), base.buffers())}
    own = {_place(tensor): tensor.untyped_storage().nbytes() for tensor in chain(module.parameters(), module.buffers())}
    return sum(size for place, size in own.items() if place not in shared)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
