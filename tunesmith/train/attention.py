"""Attention over a prefix tree, segment by segment, through transformers' `AttentionInterface`.

A dense [N, N] mask would make every branch pay for every other one. Instead each segment (a run without branches)
attends to its path and causally to itself. Segments of similar size are padded to one group and computed by one
call of the fused attention kernel; grouped-query heads are folded into the query length, so keys and values
are never repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface

from tunesmith.errors import ModelError
from tunesmith.train.tree import PrefixTree, Segment, segments

__all__ = [
    "ATTENTION",
    "DENSE_ATTENTION",
    "FLEX_ATTENTION",
    "TREE_ATTENTIONS",
    "AttentionPlan",
    "Group",
    "Heads",
    "Layout",
    "TreePlan",
    "plan_attention",
    "register",
    "tree_attention",
]

ATTENTION = "tunesmith_tree"
DENSE_ATTENTION = f"{ATTENTION}_dense"
FLEX_ATTENTION = f"{ATTENTION}_flex"
TREE_ATTENTIONS = (ATTENTION, DENSE_ATTENTION, FLEX_ATTENTION)
PADDING_ALLOWED = 1.3


class TreePlan(Protocol):
    """How the attention of one tree is computed; the same for every layer."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """query [1, H, N, D], key and value [1, Hkv, N, D] -> [1, N, H, D]."""


class Heads(NamedTuple):
    """Head counts and size: `heads` query heads share `kv_heads` key/value heads."""

    heads: int
    kv_heads: int
    size: int

    @property
    def repeat(self) -> int:
        """Query heads that share one key/value head."""
        return self.heads // self.kv_heads


class Group(NamedTuple):
    """G segments padded to L queries and K keys."""

    queries: Tensor
    """[G, L] node of each query (padding repeats node 0)"""
    padding: Tensor
    """[G, L] whether the query only fills up"""
    keys: Tensor
    """[G * K] node of each key"""
    mask: Tensor
    """[G, 1, L, K] additive: 0 where visible, -inf elsewhere"""

    def rows(self, heads: Heads, step: int) -> Tensor:
        """[G * Hkv * repeat * L] row of every head's query among rows [*, D] of which each node has `step`."""
        head = torch.arange(heads.heads, device=self.queries.device).view(1, heads.kv_heads, heads.repeat, 1)
        return (self.queries[:, None, None] * step + head).reshape(-1)

    def filler(self, heads: Heads) -> Tensor:
        """Places in `rows` that only fill up."""
        everywhere = self.padding[:, None, None].expand(-1, heads.kv_heads, heads.repeat, -1)
        return everywhere.reshape(-1).nonzero().squeeze(1)


class Layout(NamedTuple):
    """A plan for certain heads: each group's padding and mask for grouped heads, and the way back to nodes."""

    fillers: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    """[G, 1, repeat * L, K]: heads that share keys are folded into the query length"""
    restore: Tensor
    """[N * H] where the vector of each node's head stands in all groups' outputs one after the other"""


@dataclass(frozen=True)
class AttentionPlan:
    """How the attention of one tree of `nodes` nodes is computed; the same for every layer."""

    groups: tuple[Group, ...]
    nodes: int
    _layouts: dict[Heads, Layout] = field(default_factory=dict, repr=False, compare=False)
    _rows: dict[tuple[Heads, int], tuple[Tensor, ...]] = field(default_factory=dict, repr=False, compare=False)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `TreePlan`."""
        if query.device.type != "cpu":
            raise ModelError(
                f"The kernels of train.attention segments run on the processor only, not on {query.device}.",
                hint="Set train.attention: auto",
            )
        rows = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        result: Tensor = _TreeAttention.apply(*rows, self, scale)
        return result[None]

    def layout(self, heads: Heads) -> Layout:
        """Made for the first layer with such heads, used by all others."""
        if heads not in self._layouts:
            fillers = tuple(group.filler(heads) for group in self.groups)
            masks = tuple(group.mask.repeat(1, 1, heads.repeat, 1) for group in self.groups)
            rows = torch.cat(self.rows(heads, heads.heads))
            used = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            start = 0
            for group_rows, filler in zip(self.rows(heads, heads.heads), fillers, strict=True):
                used[start + filler] = False
                start += len(group_rows)
            restore = torch.empty(self.nodes * heads.heads, dtype=torch.long, device=rows.device)
            restore[rows[used]] = used.nonzero().squeeze(1)
            self._layouts[heads] = Layout(fillers, masks, restore)
        return self._layouts[heads]

    def rows(self, heads: Heads, step: int) -> tuple[Tensor, ...]:
        """Each group's `rows`."""
        if (heads, step) not in self._rows:
            self._rows[heads, step] = tuple(group.rows(heads, step) for group in self.groups)
        return self._rows[heads, step]


def register() -> None:
    """Make the attention known to transformers under each of `TREE_ATTENTIONS`; the plan decides how it is computed."""
    for name in TREE_ATTENTIONS:
        AttentionInterface.register(name, tree_attention)


def plan_attention(tree: PrefixTree, dtype: torch.dtype, device: torch.device | str = "cpu") -> AttentionPlan:
    """Group the segments of `tree` and build their index and mask tensors."""
    groups: list[Group] = []
    for members in _group(segments(tree)):
        longest = max(s.end - s.start for s in members)
        widest = max(len(s.path) + s.end - s.start for s in members)
        queries = np.zeros((len(members), longest), dtype=np.int64)
        padding = np.ones((len(members), longest), dtype=np.bool_)
        keys = np.zeros((len(members), widest), dtype=np.int64)
        visible = np.zeros((len(members), longest, widest), dtype=np.bool_)
        # Padding queries see one key, so that their softmax is finite; their output is never read.
        visible[:, :, 0] = True
        for row, segment in enumerate(members):
            length, above = segment.end - segment.start, len(segment.path)
            nodes = np.arange(segment.start, segment.end)
            queries[row, :length] = nodes
            padding[row, :length] = False
            keys[row, : above + length] = np.concatenate([segment.path, nodes])
            visible[row, :length, :above] = True
            visible[row, :length, above : above + length] = np.tri(length, dtype=np.bool_)
        mask = torch.zeros(visible.shape, dtype=dtype).masked_fill_(~torch.from_numpy(visible), -torch.inf)
        groups.append(
            Group(
                queries=torch.from_numpy(queries).to(device),
                padding=torch.from_numpy(padding).to(device),
                keys=torch.from_numpy(keys.reshape(-1)).to(device),
                mask=mask[:, None].to(device),
            )
        )
    return AttentionPlan(groups=tuple(groups), nodes=tree.size)


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
    plan: TreePlan = kwargs["tree_plan"]
    return plan.attend(query, key, value, scaling if scaling is not None else query.shape[-1] ** -0.5), None


class _TreeAttention(torch.autograd.Function):
    """Saves queries, keys, values and outputs once per node; what each group gathers is gathered again in the
    backward pass.

    Calls the fused kernels of `scaled_dot_product_attention` (FlashAttention, Dao et al. 2022, arXiv:2205.14135)
    directly, since autograd around the gathers would keep every gathered copy.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, scale: float) -> Tensor:
        """query [N, H, D], key and value [N, Hkv, D] -> [N, H, D]."""
        heads = Heads(query.shape[1], key.shape[1], query.shape[2])
        layout = plan.layout(heads)
        outputs, normalisers = [], []
        for group, q, mask in zip(plan.groups, _gather(query, heads, plan), layout.masks, strict=True):
            k, v = _keys(key, group), _keys(value, group)
            out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=mask, scale=scale)
            outputs.append(out.reshape(-1, heads.size))
            normalisers.append(lse)
        result = torch.cat(outputs).index_select(0, layout.restore).view(query.shape)
        ctx.save_for_backward(query, key, value, result, *normalisers)
        ctx.plan, ctx.scale, ctx.heads = plan, scale, heads
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, result, *normalisers = ctx.saved_tensors
        heads, plan = ctx.heads, ctx.plan
        layout = plan.layout(heads)
        # A shared prefix receives one addition per branch: in bfloat16 the later ones would round away.
        d_key, d_value = (torch.zeros_like(tensor, dtype=torch.float32) for tensor in (key, value))
        d_queries = []
        gathered = (_gather(tensor, heads, plan) for tensor in (query, grad, result))
        parts = zip(plan.groups, *gathered, normalisers, layout.fillers, layout.masks, strict=True)
        for group, q, dout, out, lse, filler, mask in parts:
            dout.view(-1, heads.size).index_fill_(0, filler, 0.0)
            k, v = _keys(key, group), _keys(value, group)
            dq, dk, dv = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                dout, q, k, v, out, lse, 0.0, False, attn_mask=mask, scale=ctx.scale
            )
            d_queries.append(dq.reshape(-1, heads.size))
            for total, part in ((d_key, dk), (d_value, dv)):
                rows = part.transpose(1, 2).reshape(len(group.keys), heads.kv_heads, heads.size)
                total.index_add_(0, group.keys, rows.float())
        d_query = torch.cat(d_queries).index_select(0, layout.restore).view(query.shape)
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype), None, None


def _gather(vectors: Tensor, heads: Heads, plan: AttentionPlan) -> Iterator[Tensor]:
    """Each group's part [G, Hkv, repeat * L, D] of vectors [N, H, D], in one copy: heads sharing keys are folded."""
    count, heads_count, size = vectors.shape
    if vectors.stride()[1:] != (size, 1) or vectors.stride(0) % size:
        vectors = vectors.contiguous()
    step = vectors.stride(0) // size
    rows = vectors.as_strided(((count - 1) * step + heads_count, size), (size, 1))
    for group, index in zip(plan.groups, plan.rows(heads, step), strict=True):
        yield rows.index_select(0, index).view(len(group.queries), heads.kv_heads, -1, size)


def _keys(vectors: Tensor, group: Group) -> Tensor:
    """The group's part [G, Hkv, K, D] of keys or values [N, Hkv, D]."""
    return vectors.index_select(0, group.keys).view(len(group.queries), -1, *vectors.shape[1:]).transpose(1, 2)


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
