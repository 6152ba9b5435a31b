"""Adapters applied to the rows of a packed batch, each row with its own.

The rows of one adapter are multiplied with its factors; where several adapters have few rows each, as in a decode step,
one batched product serves them all (`_lora_stack`). With 16 rows of eight adapters of rank 16 that takes a third of the
time of products with all factors side by side and a mask, and less than half of one product for each adapter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tunesmith.engine.backends._lora import Factors, LoraWeights
from tunesmith.engine.backends._lora_stack import FactorStack
from tunesmith.engine.backends._regions import Region
from tunesmith.models.device import device_of

__all__ = ["ActiveAdapters"]

# An adapter with more rows than this has a product of its own.
_FEW_ROWS = 16


class _Group(NamedTuple):
    """The rows [first, last) of a packed batch that one product, or one batched product, serves.

    adapter: whose rows they are; None: those of the stack's adapters, in the order of its places. Where the adapters of
    the stack have different numbers of rows, each is filled up to `most`: `taken` [places * most] says which of the
    rows is where (any one where there is none), `kept` [last - first] where each row is.
    """

    adapter: str | None
    first: int
    last: int
    taken: Tensor | None = None
    kept: Tensor | None = None


class ActiveAdapters:
    """The loaded adapters of one model, applied through forward hooks on the layers they tune."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = dict(model.named_modules())
        self._device = device_of(model)
        self._loaded: dict[str, LoraWeights] = {}
        self._hooks: dict[str, Any] = {}
        self._stack = FactorStack()
        self._groups: list[_Group] = []
        self._region: Region | None = None

    def names(self) -> tuple[str, ...]:
        """The loaded adapters."""
        return tuple(self._loaded)

    def add(self, name: str, weights: LoraWeights) -> None:
        """Load an adapter under `name`."""
        self._loaded[name] = weights
        self._stack.forget(name)
        self._region = self._average_region()
        for module in weights:
            if module not in self._hooks:
                self._hooks[module] = self._modules[module].register_forward_hook(self._hook(module))

    def remove(self, name: str) -> None:
        """Forget an adapter, with the hooks only it needed."""
        del self._loaded[name]
        self._stack.forget(name)
        self._region = self._average_region()
        needed = {module for weights in self._loaded.values() for module in weights}
        for module in set(self._hooks) - needed:
            self._hooks.pop(module).remove()

    def _average_region(self) -> Region | None:
        """A product with factors of average size; None where there are none, or not on the processor."""
        factors = [factor for weights in self._loaded.values() for pair in weights.values() for factor in pair]
        if not factors or self._device.type != "cpu":
            return None
        return Region(sum(factor.numel() for factor in factors) / len(factors), torch.float32)

    def select(self, runs: Sequence[tuple[str | None, int]]) -> list[int]:
        """State which adapter the rows of the coming forward have: runs of (adapter or none, number of rows).

        Returns the order in which the runs have to stand in it.
        """
        counts: Counter[str | None] = Counter()
        for name, count in runs:
            counts[name] += count
        few = [name for name in counts if name is not None and counts[name] <= _FEW_ROWS]
        if len(few) < 2:
            few = []
        else:
            self._stack.hold(few, self._loaded)
        alone = [name for name in counts if name is not None and name not in few]
        stacked = self._stack.names if few else []
        self._groups = []
        first = 0
        for name in alone:
            self._groups.append(_Group(name, first, first + counts[name]))
            first += counts[name]
        if few:
            self._groups.append(self._stacked(first, [counts[name] if name in few else 0 for name in stacked]))
        ranks = {name: rank for rank, name in enumerate([*alone, *(name for name in stacked if name in few), None])}
        return sorted(range(len(runs)), key=lambda index: ranks[runs[index][0]])

    def _stacked(self, first: int, counts: list[int]) -> _Group:
        """The rows from `first` on, so many for each place of the stack."""
        most, last = max(counts), first + sum(counts)
        if min(counts) == most:
            return _Group(None, first, last)
        kept = [place * most + at for place, count in enumerate(counts) for at in range(count)]
        taken = [0] * (most * len(counts))
        for row, place in enumerate(kept):
            taken[place] = row
        return _Group(None, first, last, self._tensor(taken), self._tensor(kept))

    def _tensor(self, values: list[int]) -> Tensor:
        return torch.tensor(values, device=self._device)

    def _hook(self, name: str) -> Any:
        def add_low_rank(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            rows = inputs[0].reshape(-1, inputs[0].shape[-1])
            flat = output.reshape(-1, output.shape[-1])
            with self._region.threads_for(len(rows)) if self._region else nullcontext():
                for group in self._groups:
                    weights = self._stack.factors if group.adapter is None else self._loaded[group.adapter]
                    if factors := weights.get(name):
                        _add(flat[group.first : group.last], rows[group.first : group.last], factors, group)
            return flat.view_as(output)

        return add_low_rank


def _add(target: Tensor, rows: Tensor, factors: Factors, group: _Group) -> None:
    """Add the low-rank products of `rows` [n, inputs] to `target` [n, outputs], in place, each rounded once."""
    if group.adapter is None:
        _add_stacked(target, rows, factors, group)
        return
    low = rows.float() @ factors.down
    if target.dtype == torch.float32:
        target.addmm_(low, factors.up)
    else:
        target.copy_(torch.addmm(target.float(), low, factors.up))


def _add_stacked(target: Tensor, rows: Tensor, factors: Factors, group: _Group) -> None:
    """The same with factors [places, ...], each for the rows of its place."""
    places, outputs = factors.down.shape[0], target.shape[1]
    inputs = rows if group.taken is None else rows.index_select(0, group.taken)
    low = torch.bmm(inputs.float().view(places, -1, rows.shape[1]), factors.down)
    if group.kept is not None:
        found = torch.bmm(low, factors.up).view(-1, outputs).index_select(0, group.kept)
        target.copy_(target + found)
    elif target.dtype == torch.float32:
        target.view(places, -1, outputs).baddbmm_(low, factors.up)
    else:
        target.copy_(torch.baddbmm(target.float().view(places, -1, outputs), low, factors.up).view(-1, outputs))
