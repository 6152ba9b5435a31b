"""Attention over a prefix tree, segment by segment, through transformers' `AttentionInterface`.

A dense [N, N] mask would make every branch pay for every other one. Instead each segment (a run without branches)
attends to its path and causally to itself. Segments of similar size are padded to one group and computed by one
call of `scaled_dot_product_attention`; grouped-query heads are folded into the query length, so keys and values
are never repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from tunesmith.errors import ModelError
from tunesmith.train.tree import PrefixTree, Segment, segments

__all__ = ["ATTENTION", "AttentionPlan", "plan_attention", "register"]

ATTENTION = "tunesmith_tree"
PADDING_ALLOWED = 1.3


class Group(NamedTuple):
    """G segments padded to L queries and K keys."""

    queries: torch.Tensor
    """[G * L] node of each query (padding repeats node 0)"""
    keys: torch.Tensor
    """[G * K] node of each key"""
    mask: torch.Tensor
    """[G, 1, L, K] additive: 0 where visible, -inf elsewhere"""
    count: int
    """G"""


class AttentionPlan(NamedTuple):
    """How the attention of one tree is computed; the same for every layer."""

    groups: tuple[Group, ...]
    restore: torch.Tensor
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
                count=len(members),
            )
        )
    return AttentionPlan(groups=tuple(groups), restore=torch.from_numpy(restore).to(device))


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: query [1, H, N, D], key and value [1, Hkv, N, D] -> [1, N, H, D].

    The plan arrives as the keyword `tree_plan` given to the model's forward. Raises ModelError for a layer that needs
    more than the plan gives (a sliding window, logit soft-capping, attention sinks).
    """
    for unsupported in ("sliding_window", "softcap", "s_aux"):
        if kwargs.get(unsupported) is not None:
            raise ModelError(f"This model's attention uses {unsupported}.", hint="Set train.batching: padded")
    plan: AttentionPlan = kwargs["tree_plan"]
    heads, size = query.shape[1], query.shape[-1]
    kv_heads = key.shape[1]
    outputs = []
    for group in plan.groups:
        length, width = group.mask.shape[-2:]
        repeat = heads // kv_heads
        q = query[0].index_select(1, group.queries).view(kv_heads, repeat, group.count, length, size)
        q = q.permute(2, 0, 1, 3, 4).reshape(group.count, kv_heads, repeat * length, size)
        k = key[0].index_select(1, group.keys).view(kv_heads, group.count, width, size).transpose(0, 1)
        v = value[0].index_select(1, group.keys).view(kv_heads, group.count, width, size).transpose(0, 1)
        mask = group.mask.repeat(1, 1, repeat, 1)
        out = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling)
        out = out.view(group.count, heads, length, size).transpose(1, 2)
        outputs.append(out.reshape(group.count * length, heads, size))
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return joined.index_select(0, plan.restore)[None], None


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
