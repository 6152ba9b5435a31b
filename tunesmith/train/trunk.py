"""The frozen trunk: layers below the first trained one say the same of a row in every epoch, so they are computed once.

Before the first step the trunk's output is computed for all rows, in the order of the dataset and so the same way
after a resume; every step then begins at the first trained layer. What all rows open with (a system prompt) is kept
once. A full pass costs L layers forward; a step costs only the trained layers, forward and backward.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from tunesmith.models.score_head import score_head
from tunesmith.progress import Progress
from tunesmith.train.backbone import layers_view, parts, tree_states
from tunesmith.train.tree import PrefixTree, fold
from tunesmith.types.conversation import Rendered

__all__ = ["Trunk", "first_trained_layer", "frozen_code", "trunk_bytes"]

CHUNK_TOKENS = 4096


class Trunk:
    """The output of a model's frozen lower layers for a fixed set of rows; `upper` is the rest of the model."""

    def __init__(self, model: Any, rows: Sequence[Rendered], progress: Progress) -> None:
        first = first_trained_layer(model)
        lower, self.upper = _cut(model, first)
        self._shared = _common_opening(rows)
        self._opening: torch.Tensor | None = None
        self._tails: dict[tuple[int, ...], torch.Tensor] = {}
        with progress.task(f"computing the {first} frozen layers once", len(rows)) as task, torch.no_grad():
            for chunk in _chunks(rows, self._shared):
                self._keep(lower, chunk)
                task.advance(len(chunk))

    def under(self, model: Any) -> Trunk:
        """The same output under another model with equal frozen layers; forgetting one leaves the other."""
        other = copy.copy(self)
        _, other.upper = _cut(model, first_trained_layer(model))
        other._tails = dict(self._tails)
        return other

    def forget(self) -> None:
        """Give up what is kept; after the last step nobody asks any more."""
        self._tails.clear()
        self._opening = None

    def states(self, tree: PrefixTree, rows: Sequence[Rendered]) -> torch.Tensor:
        """The trunk's output [N, H] for `tree`, which was folded from `rows`. KeyError for a row it does not know."""
        pieces = []
        starts = np.flatnonzero(np.diff(tree.origin, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], tree.size], strict=True):
            tail = self._tails[rows[tree.origin[start]].token_ids]
            begin, end = int(tree.positions[start]), int(tree.positions[stop - 1]) + 1
            if begin < self._shared and self._opening is not None:
                pieces.append(self._opening[begin : min(end, self._shared)])
            if end > self._shared:
                pieces.append(tail[max(0, begin - self._shared) : end - self._shared])
        return torch.cat(pieces)

    def _keep(self, lower: Any, rows: Sequence[Rendered]) -> None:
        tree = fold(rows)
        states = tree_states(lower, tree)
        for row, path in zip(rows, tree.paths, strict=True):
            own = states[torch.from_numpy(path).to(states.device)]
            if self._opening is None:
                self._opening = own[: self._shared].clone()
            self._tails[row.token_ids] = own[self._shared :].clone()


def frozen_code(model: Any) -> list[Any]:
    """What computes the trunk's output: the attention, and each module below the first trained layer with its code and
    the place of its tensors. Equal values give equal bits for equal rows, as long as nobody wrote into the tensors.
    """
    lower, _ = _cut(model, first_trained_layer(model))
    found: list[Any] = [len(lower.layers), lower.config._attn_implementation]
    for name, module in lower.named_modules():
        forward = getattr(module.forward, "__func__", module.forward)
        tensors = [*module._parameters.items(), *module._buffers.items()]
        places = [(key, t.data_ptr(), t.shape, t.stride(), t.dtype) for key, t in tensors if t is not None]
        found.append((name, type(module), getattr(forward, "__code__", forward), places))
    return found


def first_trained_layer(model: Any) -> int:
    """Index of the lowest decoder layer with trained parameters; 0 when anything below or beside the layers is trained.

    0 means that there is no trunk: also for models whose parts are not laid out as embeddings, `layers` and `norm`,
    and for models with dropout, whose output is not the same each time.
    """
    backbone, _ = parts(model)
    if not all(hasattr(backbone, name) for name in ("layers", "norm", "embed_tokens")):
        return 0
    if any(value for name, value in backbone.config.to_dict().items() if name.endswith(("dropout", "pdrop"))):
        return 0
    above = score_head(model)
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    trained -= {id(parameter) for parameter in above.parameters()} if above is not None else set()
    by_layer = [any(id(parameter) in trained for parameter in layer.parameters()) for layer in backbone.layers]
    inside = {id(parameter) for layer in backbone.layers for parameter in layer.parameters()}
    return by_layer.index(True) if any(by_layer) and trained <= inside else 0


def _cut(model: Any, first: int) -> tuple[Any, Any]:
    """The model's layers below `first`, and the others."""
    backbone, _ = parts(model)
    return layers_view(backbone, 0, first), layers_view(backbone, first, len(backbone.layers))


def trunk_bytes(model: Any, rows: Sequence[Rendered]) -> int:
    """Memory the trunk's output of `rows` takes."""
    backbone, head = parts(model)
    shared = _common_opening(rows)
    tokens = shared + sum(len(ids) - shared for ids in {row.token_ids for row in rows})
    return tokens * int(backbone.config.hidden_size) * head.weight.element_size()


def _chunks(rows: Sequence[Rendered], shared: int) -> Iterator[Sequence[Rendered]]:
    """`rows` in order, cut so that a chunk computes few tokens and so needs little memory, but one row at least."""
    start, tokens = 0, shared
    for index, row in enumerate(rows):
        own = len(row.token_ids) - shared
        if index > start and tokens + own > CHUNK_TOKENS:
            yield rows[start:index]
            start, tokens = index, shared
        tokens += own
    yield rows[start:]


def _common_opening(rows: Sequence[Rendered]) -> int:
    """Number of leading tokens that all rows share."""
    low, high = min(row.token_ids for row in rows), max(row.token_ids for row in rows)
    length = 0
    while length < min(len(low), len(high)) and low[length] == high[length]:
        length += 1
    return length
