"""Attention over a prefix tree, segment by segment, through transformers' `AttentionInterface`.

A dense [N, N] mask would make every branch pay for every other one. Instead each segment (a run without branches)
attends to its path and causally to itself. Segments of similar size are padded to one group and computed by one
call of the fused attention kernel; grouped-query heads are folded into the query length, so keys and values
are never repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface

from tunesmith.errors import ModelError
from tunesmith.train.tree import PrefixTree, Segment, segments

__all__ = ["ATTENTION", "AttentionPlan", "Group", "Heads", "plan_attention", "register", "tree_attention"]

ATTENTION = "tunesmith_tree"
PADDING_ALLOWED = 1.3


class Group(NamedTuple):
    """G segments padded to L queries and K keys."""

    queries: Tensor
    """[G * L] node of each query (padding repeats node 0)"""
    keys: Tensor
    """[G * K] node of each key"""
    mask: Tensor
    """[G, 1, L, K] additive: 0 where visible, -inf elsewhere"""
    members: int
    """G"""


class AttentionPlan(NamedTuple):
    """How the attention of one tree is computed; the same for every layer."""

    groups: tuple[Group, ...]
    restore: Tensor
    """[N] where each node's output stands in the concatenation of all groups' outputs"""


def register() -> None:
    """Make the attention known to transformers under the name `ATTENTION`."""
    AttentionInterface.register(ATTENTION, tree_attention)


def plan_attention(tree: PrefixTree, dtype: torch.dtype, device: torch.device | str = "cpu") -> AttentionPlan:
    """Group the segments of `tree` and build their index and mask tensors."""
    groups: list[Group] = []
    restore = np.zeros(tree.size, dtype=np.int64)
    offset = 0
    for members in _group(segments(tree)):
        longest = max(s.end - s.start for s in members)
        widest = max(len(s.path) + s.end - s.start for s in members)
        queries = np.zeros((len(members), longest), dtype=np.int64)
        keys = np.zeros((len(members), widest), dtype=np.int64)
        visible = np.zeros((len(members), longest, widest), dtype=np.bool_)
        # Padding queries see one key, so that their softmax is finite; their output is never read.
        visible[:, :, 0] = True
        for row, segment in enumerate(members):
            length, above = segment.end - segment.start, len(segment.path)
            nodes = np.arange(segment.start, segment.end)
            queries[row, :length] = nodes
            keys[row, : above + length] = np.concatenate([segment.path, nodes])
            visible[row, :length, :above] = True
            visible[row, :length, above : above + length] = np.tri(length, dtype=np.bool_)
            restore[nodes] = offset + row * longest + np.arange(length)
        offset += queries.size
        mask = torch.zeros(visible.shape, dtype=dtype).masked_fill_(~torch.from_numpy(visible), -torch.inf)
        groups.append(
            Group(
                queries=torch.from_numpy(queries.reshape(-1)).to(device),
                keys=torch.from_numpy(keys.reshape(-1)).to(device),
                mask=mask[:, None].to(device),
                members=len(members),
            )
        )
    return AttentionPlan(groups=tuple(groups), restore=torch.from_numpy(restore).to(device))


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: query [1, H, N, D], key and value [1, Hkv, N, D] -> [1, N, H, D].

    The plan arrives as the keyword `tree_plan` given to the model's forward. Raises ModelError for a layer that needs
    more than the plan gives (a sliding window, logit soft-capping, attention sinks, dropout).
    """
    for unsupported in ("sliding_window", "softcap", "s_aux", "dropout"):
        if kwargs.get(unsupported):
            raise ModelError(f"This model's attention uses {unsupported}.", hint="Set train.batching: padded")
    if query.device.type != "cpu":
        raise ModelError("Attention over a prefix tree runs on the CPU only.", hint="Set train.batching: padded")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    rows = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    result: Tensor = _TreeAttention.apply(*rows, kwargs["tree_plan"], scale)
    return result[None], None


class _TreeAttention(torch.autograd.Function):
    """Saves queries, keys, values and outputs once per node; what each group gathers is gathered again in the
    backward pass.

    Calls the fused kernels of `scaled_dot_product_attention` (FlashAttention, Dao et al. 2022, arXiv:2205.14135)
    directly, since autograd around the gathers would keep every gathered copy.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scale: float) -> Tensor:
        """query [N, H, D], key and value [N, Hkv, D] -> [N, H, D]."""
        shape = Heads(query.shape[1], key.shape[1], query.shape[2])
        outputs, normalisers = [], []
        for group in plan.groups:
            q, k, v = shape.queries(query, group), shape.keys(key, group), shape.keys(value, group)
            mask = shape.mask(group)
            out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=mask, scale=scale)
            outputs.append(shape.to_slots(out, group))
            normalisers.append(lse)
        result = torch.cat(outputs).index_select(0, plan.restore)
        ctx.save_for_backward(query, key, value, result, *normalisers)
        ctx.plan, ctx.scale, ctx.shape = plan, scale, shape
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, result, *normalisers = ctx.saved_tensors
        shape, plan = ctx.shape, ctx.plan
        slots = sum(len(group.queries) for group in plan.groups)
        grad_slots = grad.new_zeros(slots, shape.heads, shape.size).index_copy_(0, plan.restore, grad)
        out_slots = grad.new_zeros(slots, shape.heads, shape.size).index_copy_(0, plan.restore, result)
        d_query = torch.empty_like(grad_slots)
        # A shared prefix receives one addition per branch: in bfloat16 the later ones would round away.
        d_key, d_value = (torch.zeros_like(tensor, dtype=torch.float32) for tensor in (key, value))
        start = 0
        for group, lse in zip(plan.groups, normalisers, strict=True):
            place = slice(start, start + len(group.queries))
            start = place.stop
            q, k, v = shape.queries(query, group), shape.keys(key, group), shape.keys(value, group)
            dq, dk, dv = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                shape.fold(grad_slots[place], group), q, k, v, shape.fold(out_slots[place], group), lse,
                0.0, False, attn_mask=shape.mask(group), scale=ctx.scale,
            )  # fmt: skip
            d_query[place] = shape.to_slots(dq, group)
            for total, part in ((d_key, dk), (d_value, dv)):
                rows = part.transpose(1, 2).reshape(len(group.keys), shape.kv_heads, shape.size)
                total.index_add_(0, group.keys, rows.float())
        return d_query.index_select(0, plan.restore), d_key.to(key.dtype), d_value.to(value.dtype), None, None


class Heads(NamedTuple):
    """Head counts and size, and the reshapes between nodes [n, H, D] and padded groups [G, Hkv, repeat * L, D]."""

    heads: int
    kv_heads: int
    size: int

    @property
    def repeat(self) -> int:
        """Query heads that share one key/value head."""
        return self.heads // self.kv_heads

    def queries(self, rows: Tensor, group: Group) -> Tensor:
        """Gather [N, H, D] into [G, Hkv, repeat * L, D]."""
        return self.fold(rows.index_select(0, group.queries), group)

    def keys(self, rows: Tensor, group: Group) -> Tensor:
        """Gather [N, Hkv, D] into [G, Hkv, K, D]."""
        return rows.index_select(0, group.keys).view(group.members, -1, self.kv_heads, self.size).transpose(1, 2)

    def mask(self, group: Group) -> Tensor:
        """[G, 1, repeat * L, K]: grouped-query heads are folded into the query length."""
        return group.mask.repeat(1, 1, self.repeat, 1)

    def fold(self, slots: Tensor, group: Group) -> Tensor:
        """[G * L, H, D] -> [G, Hkv, repeat * L, D]."""
        parts = slots.view(group.members, -1, self.kv_heads, self.repeat, self.size).permute(0, 2, 3, 1, 4)
        return parts.reshape(group.members, self.kv_heads, -1, self.size)

    def to_slots(self, folded: Tensor, group: Group) -> Tensor:
        """Inverse of `fold`."""
        parts = folded.reshape(group.members, self.kv_heads, self.repeat, -1, self.size).permute(0, 3, 1, 2, 4)
        return parts.reshape(-1, self.heads, self.size)


def _group(found: Sequence[Segment]) -> list[list[Segment]]:
    """Segments sorted by size, cut into groups whose padding costs at most `PADDING_ALLOWED` times the useful work."""
    ordered = sorted(found, key=lambda s: (len(s.path) + s.end - s.start, s.end - s.start, s.start))
    groups: list[list[Segment]] = []
    useful = longest = 0
    for segment in ordered:
        length = segment.end - segment.start
        width = len(segment.path) + length
        if groups:
            padded = (len(groups[-1]) + 1) * max(longest, length) * width
            if padded <= PADDING_ALLOWED * (useful + length * width):
                groups[-1].append(segment)
                useful, longest = useful + length * width, max(longest, length)
                continue
        groups.append([segment])
        useful, longest = length * width, length
    return groups
