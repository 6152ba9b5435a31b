"""Embeddings of the embedded engine: the mean of a text's last hidden states, computed between the steps of answers.

Texts that wait for the same adapter are computed together, as many as have the tokens of a step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tunesmith.engine.backends._attention import KVPool, PackedStep, Segment
from tunesmith.engine.backends._packed import PackedModel
from tunesmith.models.device import device_of
from tunesmith.models.virtual import virtual_ids

__all__ = ["Embedder"]

Vector = tuple[float, ...]
Call = Callable[[Callable[[], bool]], "Future[bool]"]


class _Waiting(NamedTuple):
    """A text that somebody waits for the vector of, with the adapter's virtual tokens in front of it."""

    ids: tuple[int, ...]
    adapter: str | None
    virtual: int
    vector: asyncio.Future[Vector]


class Embedder:
    """Computes vectors on `model` in steps of at most `step_tokens`, which `call` runs in the thread that owns it.

    Keys and values lie in a pool of their own, for one text or as many as fit a step, so the running answers keep
    theirs.
    """

    def __init__(self, model: PackedModel, call: Call, step_tokens: int) -> None:
        self._model, self._call, self._step_tokens = model, call, step_tokens
        self._waiting: dict[asyncio.Future[Vector], _Waiting] = {}
        self._turn = asyncio.Lock()

    async def vector(self, token_ids: Sequence[int], adapter: str | None, virtual: int) -> Vector:
        """The mean [H] of the text's last hidden states, scaled to length 1. The `virtual` tokens of the adapter are
        read and not counted in the mean.
        """
        ids = (*virtual_ids(virtual), *token_ids)
        mine = _Waiting(ids, adapter, virtual, asyncio.get_running_loop().create_future())
        self._waiting[mine.vector] = mine
        try:
            await asyncio.sleep(0)  # the other texts of the same request come
            async with self._turn:
                # Whoever's turn it is computes for others too; when it gives up, they are still waiting.
                if not mine.vector.done():
                    group = self._group(mine)
                    for one, found in zip(group, await self._computed(group), strict=True):
                        one.vector.set_result(found)
            return mine.vector.result()
        finally:
            del self._waiting[mine.vector]

    def _group(self, first: _Waiting) -> list[_Waiting]:
        group, room = [first], self._step_tokens - len(first.ids)
        for one in self._waiting.values():
            if one is not first and one.adapter == first.adapter and not one.vector.done() and len(one.ids) <= room:
                group.append(one)
                room -= len(one.ids)
        return group

    async def _computed(self, group: Sequence[_Waiting]) -> list[Vector]:
        work = _Texts(self._model, [one.ids for one in group], group[0].adapter, group[0].virtual)
        while not await asyncio.wrap_future(self._call(lambda: work.advance(self._step_tokens))):
            pass
        return work.vectors()


class _Texts:
    """Texts on their way to their vectors, one behind the other in slots of one pool."""

    def __init__(self, model: PackedModel, texts: Sequence[tuple[int, ...]], adapter: str | None, virtual: int) -> None:
        self._model, self._adapter, self._virtual = model, adapter, virtual
        self._texts = texts
        self._ends = list(accumulate(map(len, texts)))
        self._pool = KVPool(self._ends[-1])
        self._computed = 0
        self._sums: list[Tensor | None] = [None] * len(texts)

    def advance(self, tokens: int) -> bool:
        """Compute at most `tokens` more tokens of all texts together; True when those were the rest."""
        spans = self._spans(tokens)
        states, row = self._states(spans), 0
        for index, first, last in spans:
            part = states[row + max(0, self._virtual - first) : row + last - first].float().sum(dim=0)
            known = self._sums[index]
            self._sums[index] = part if known is None else known + part
            row += last - first
        self._computed += row
        return self._computed == self._ends[-1]

    def vectors(self) -> list[Vector]:
        """The mean of each text, scaled to length 1."""
        return [tuple(normalize(total, dim=0).tolist()) for total in self._sums if total is not None]

    def _spans(self, tokens: int) -> list[tuple[int, int, int]]:
        """(text, first, last) of the next `tokens` tokens, counted from the beginning of each text."""
        end, found = self._computed + tokens, []
        for index, (text, stop) in enumerate(zip(self._texts, self._ends, strict=True)):
            start = stop - len(text)
            first, last = max(self._computed, start), min(end, stop)
            if first < last:
                found.append((index, first - start, last - start))
        return found

    def _states(self, spans: Sequence[tuple[int, int, int]]) -> Tensor:
        """Last hidden states [N, H] of the tokens of `spans`, after the final norm."""
        ids = [token for index, first, last in spans for token in self._texts[index][first:last]]
        positions = [position for _, first, last in spans for position in range(first, last)]
        segments, row = [], 0
        for index, first, last in spans:
            segments.append(Segment(row, row + last - first, self._ends[index] - len(self._texts[index]), last))
            row += last - first
        ((module, _),) = self._model.adapters.forwards([(self._adapter, len(ids))])
        backbone = getattr(module, module.base_model_prefix)
        device = device_of(self._model.model)
        with self._model.threads_for(len(ids)):
            # OPT's language model calls the decoder inside.
            return getattr(backbone, "decoder", backbone)(
                input_ids=torch.tensor([ids], device=device),
                position_ids=torch.tensor([positions], device=device),
                use_cache=False,
                packed_step=PackedStep(self._pool, segments, device),
            ).last_hidden_state[0]
