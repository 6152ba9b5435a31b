"""Which attention computes the prefix tree on which device, and the two that take the whole tree in one call.

    segments   the processor's fused kernels, segment by segment (`attention`): no pair of branches is computed
    flex       FlexAttention (Dong et al. 2024, arXiv:2412.05496): blocks of the mask in which nothing is visible are
               skipped, so neither are most pairs of branches; one compiled kernel on CUDA
    dense      one call of scaled dot product attention with an [N, N] mask: right on every device, fast on none

All three give the same sums up to rounding, and so do their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import pad, scaled_dot_product_attention

from tunesmith.errors import Problem, RecipeError
from tunesmith.train.attention import ATTENTION, DENSE_ATTENTION, FLEX_ATTENTION, TreePlan, plan_attention
from tunesmith.train.tree import PrefixTree
from tunesmith.types.recipe import TreeAttention

__all__ = ["DensePlan", "FlexPlan", "Planner", "planner", "tree_attention_for"]

BLOCK = 128

Planner = Callable[[PrefixTree, torch.dtype, torch.device], TreePlan]


class DensePlan(NamedTuple):
    """The whole mask: node i sees node j where j is an ancestor-or-self of i."""

    mask: Tensor
    """[N, N]"""

    @classmethod
    def of(cls, tree: PrefixTree, dtype: torch.dtype, device: torch.device) -> DensePlan:
        """Made on `device`; the mask has no `dtype`."""
        end = torch.from_numpy(tree.end).to(device)
        node = torch.arange(tree.size, device=device)
        return cls((node <= node[:, None]) & (node[:, None] < end))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `TreePlan`. Shared heads are repeated: kernels that take a mask want as many as there are queries."""
        repeat = query.shape[1] // key.shape[1]
        if repeat > 1:
            key, value = (tensor.repeat_interleave(repeat, dim=1) for tensor in (key, value))
        found = scaled_dot_product_attention(query, key, value, attn_mask=self.mask, scale=scale)
        return found.transpose(1, 2)


class FlexPlan(NamedTuple):
    """The mask's blocks of 128 by 128 nodes; the last one is filled up with nodes that only see themselves."""

    blocks: BlockMask
    filling: int

    @classmethod
    def of(cls, tree: PrefixTree, dtype: torch.dtype, device: torch.device) -> FlexPlan:
        """Made on `device`; the blocks have no `dtype`."""
        filling = -tree.size % BLOCK
        size = tree.size + filling
        end = torch.cat([torch.from_numpy(tree.end), torch.arange(tree.size + 1, size + 1)]).to(device)

        def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (key <= query) & (query < end[key])

        return cls(create_block_mask(visible, None, None, size, size, device=device, BLOCK_SIZE=BLOCK), filling)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `TreePlan`."""
        if self.filling:
            query, key, value = (pad(tensor, (0, 0, 0, self.filling)) for tensor in (query, key, value))
        shared = query.shape[1] != key.shape[1]
        kernel = _flex_kernel(query.device.type)
        found: Tensor = kernel(query, key, value, block_mask=self.blocks, scale=scale, enable_gqa=shared)
        return found[:, :, : found.shape[2] - self.filling].transpose(1, 2)


@cache
def _flex_kernel(device_type: str) -> Callable[..., Any]:
    """Compiled where torch has a kernel for the backward pass; elsewhere it computes all scores, as its definition."""
    return torch.compile(flex_attention) if device_type == "cuda" else flex_attention


def tree_attention_for(device: torch.device, kind: TreeAttention) -> str:
    """The attention implementation (a name known to transformers) of `kind` on `device`.

    Raises RecipeError for one that does not run there.
    """
    if kind == "auto":
        kind = {"cpu": "segments", "cuda": "flex"}.get(device.type, "dense")  # type: ignore[assignment]
    runs_on = {"segments": "cpu", "flex": "cuda"}
    if runs_on.get(kind, device.type) != device.type:
        message = f"{kind!r} has kernels for {runs_on[kind]} only, and the run is on {device}"
        raise RecipeError([Problem(message, field="train.attention", fix="use auto or dense")])
    return {"segments": ATTENTION, "flex": FLEX_ATTENTION}.get(kind, DENSE_ATTENTION)


def planner(attention: str) -> Planner:
    """What makes the plan of a tree for the attention implementation called `attention`."""
    planners: dict[str, Planner] = {DENSE_ATTENTION: DensePlan.of, FLEX_ATTENTION: FlexPlan.of}
    return planners.get(attention, plan_attention)
