"""Keys and values in one pool, and the attention of a packed row over it.

A step is one row of all its tokens; each segment of the row belongs to one sequence. The attention function is
registered with transformers under `NAME` and finds everything about the step in its keyword argument `packed_step`: no
state outside the call, no patched model code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from tunesmith.errors import ModelError

__all__ = ["NAME", "Gathered", "KVPool", "PackedStep", "Segment", "packed_attention", "register_attention"]

NAME = "tunesmith_packed"

# A call of the attention costs about as much as copying this many keys of a 135M model: up to that many, the keys of
# several sequences are copied together and attended to at once.
_GATHERED_KEYS = 256

# Arguments of other attention functions that change the result; a model that uses one must not get a wrong answer.
_UNSUPPORTED = ("s_aux", "position_bias", "head_mask")


class KVPool:
    """Keys and values [capacity, heads, width] of every layer; allocated when a layer first writes.

    A slot's heads lie together, so that copying a sequence's keys copies long runs of memory: a fourth to an eighth of
    the time that it takes head by head. A slot's memory is only backed by the machine once something was written there.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the pool when every slot is used (0 before the first step)."""
        return sum(tensor.nbytes for pair in self._layers.values() for tensor in pair)

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
        """Put key [heads, N, width] and value of one layer into slots [N]."""
        if layer not in self._layers:
            self._layers[layer] = (self._room(key), self._room(value))
        keys, values = self._layers[layer]
        keys.index_copy_(0, slots, key.transpose(0, 1))
        values.index_copy_(0, slots, value.transpose(0, 1))

    def view(self, layer: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values [heads, end - start, width] of one layer, not copied."""
        keys, values = self._layers[layer]
        return keys[start:end].transpose(0, 1), values[start:end].transpose(0, 1)

    def copied(self, layer: int, slots: Tensor, sequences: int) -> tuple[Tensor, Tensor]:
        """Keys and values [sequences, heads, L, width] of slots [sequences * L] of one layer."""
        keys, values = (part.index_select(0, slots) for part in self._layers[layer])
        return keys.unflatten(0, (sequences, -1)).transpose(1, 2), values.unflatten(0, (sequences, -1)).transpose(1, 2)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy `length` slots of every layer; the spans do not overlap."""
        for pair in self._layers.values():
            for tensor in pair:
                tensor[target : target + length] = tensor[source : source + length]

    def _room(self, like: Tensor) -> Tensor:
        return like.new_empty((self.capacity, like.shape[0], like.shape[2]))


class Gathered(NamedTuple):
    """Segments of one token each whose keys are copied side by side, so that one call attends for all of them.

    rows: [B] their rows; slots: [B * L] their visible keys, a shorter one's last repeated; mask: [B, 1, 1, L] additive.
    """

    segments: frozenset[int]
    rows: Tensor
    slots: Tensor
    mask: Tensor


class Segment(NamedTuple):
    """Tokens [first, last) of the row: one sequence, its keys at slot `start`, `context` of them with this step's."""

    first: int
    last: int
    start: int
    context: int


class PackedStep:
    """One step's segments and pool slots [N], with the masks they need (made once, used by all layers), on `device`."""

    def __init__(self, pool: KVPool, segments: list[Segment], device: torch.device) -> None:
        self.pool = pool
        self.segments = segments
        self._device = device
        slots = torch.cat(
            [
                torch.arange(part.start + part.context - (part.last - part.first), part.start + part.context)
                for part in segments
            ]
        )
        self.slots = slots.to(device)
        self._masks: dict[tuple[int, int, int, torch.dtype], Tensor | None] = {}
        self._gathered: dict[tuple[int, torch.dtype], Gathered | None] = {}

    def mask(self, index: int, window: int, groups: int, dtype: torch.dtype) -> tuple[int, Tensor | None]:
        """The first visible position of segment `index` and its additive mask [groups * n, context - first visible].

        A query at position p sees keys (p - window, p]. None: the only query sees everything.
        """
        part = self.segments[index]
        length = part.last - part.first
        first_query = part.context - length
        low = max(0, first_query - window + 1)
        key = (index, window, groups, dtype)
        if key not in self._masks:
            mask = None if length == 1 else _mask(first_query, low, part.context, window, dtype)
            self._masks[key] = None if mask is None else mask.to(self._device).repeat(groups, 1)
        return low, self._masks[key]

    def gathered(self, window: int, dtype: torch.dtype) -> Gathered | None:
        """The segments to attend for in one call; None when there are not two of them."""
        key = (window, dtype)
        if key not in self._gathered:
            self._gathered[key] = self._gather(window, dtype)
        return self._gathered[key]

    def _gather(self, window: int, dtype: torch.dtype) -> Gathered | None:
        found = [
            (index, part.first, part.start + part.context - seen, seen)
            for index, part in enumerate(self.segments)
            if part.last - part.first == 1 and (seen := min(window, part.context)) <= _GATHERED_KEYS
        ]
        if len(found) < 2:
            return None
        indices, rows, starts, lengths = (torch.tensor(column) for column in zip(*found, strict=True))
        places = torch.arange(int(lengths.max()))
        # The last key is repeated, not a free slot's: what was never written may not be a number.
        slots = starts[:, None] + torch.minimum(places, lengths[:, None] - 1)
        mask = torch.zeros(slots.shape, dtype=dtype).masked_fill_(places >= lengths[:, None], float("-inf"))
        device = self._device
        return Gathered(
            frozenset(indices.tolist()), rows.to(device), slots.flatten().to(device), mask[:, None, None].to(device)
        )


def register_attention() -> None:
    """Make `NAME` known to transformers (idempotent)."""
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def packed_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention of a packed row: query [1, H, N, D], key and value [1, K, N, D] -> [1, N, H, D].

    Grouped-query heads are folded into the query's length, so keys are never repeated.
    """
    step: PackedStep | None = options.get("packed_step")
    unsupported = [name for name in _UNSUPPORTED if options.get(name) is not None]
    if step is None or unsupported or attention_mask is not None:
        raise ModelError(
            f"{type(module).__name__} cannot be served packed (unsupported: {unsupported or 'attention call'})."
        )
    scaling = options.get("scaling")
    scale = float(scaling) if scaling is not None else float(query.shape[-1]) ** -0.5
    layer = int(module.layer_idx)
    window = int(options.get("sliding_window") or step.pool.capacity + 1)
    step.pool.write(layer, step.slots, key[0], value[0])
    heads, groups = query.shape[1], query.shape[1] // key.shape[1]
    output = query.new_empty((query.shape[2], heads, value.shape[-1]))
    together = step.gathered(window, query.dtype)
    if together is not None:
        chosen = query[0].transpose(0, 1).index_select(0, together.rows)
        folded = chosen.view(len(together.rows), -1, groups, query.shape[-1])
        keys, values = step.pool.copied(layer, together.slots, len(together.rows))
        found = _attend(folded, keys, values, together.mask, scale, options.get("softcap"))
        output.index_copy_(0, together.rows, found.reshape(len(together.rows), heads, -1))
    for index, part in enumerate(step.segments):
        if together is not None and index in together.segments:
            continue
        length = part.last - part.first
        low, mask = step.mask(index, window, groups, query.dtype)
        keys, values = step.pool.view(layer, part.start + low, part.start + part.context)
        folded = query[0, :, part.first : part.last].reshape(keys.shape[0], groups * length, -1)
        found = _attend(folded[None], keys[None], values[None], mask, scale, options.get("softcap"))
        output[part.first : part.last] = found.view(heads, length, -1).transpose(0, 1)
    return output.unsqueeze(0), None


def _attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float, softcap: float | None
) -> Tensor:
    """[B, K, Q, D] x [B, K, L, D] -> [B, K, Q, D], with Gemma 2's soft capping of scores where asked for."""
    if softcap is None:
        return scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scale)
    scores = torch.tanh(query @ keys.transpose(2, 3) * (scale / softcap)) * softcap
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype) @ values


def _mask(first_query: int, low: int, context: int, window: int, dtype: torch.dtype) -> Tensor:
    queries = torch.arange(first_query, context)[:, None]
    positions = torch.arange(low, context)[None, :]
    visible = (positions <= queries) & (positions > queries - window)
    return torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, float("-inf"))


def _no_mask(**_: Any) -> None:
    return None
