"""The parts of a causal language model: the decoder without its head, the head, and views of some of its layers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from tunesmith.errors import ModelError
from tunesmith.train.last_layer import last_layer_at
from tunesmith.train.tree import Ints, PrefixTree
from tunesmith.train.tree_plans import planner

__all__ = ["layers_view", "parts", "tree_states"]


def parts(model: Any) -> tuple[Any, nn.Linear]:
    """The decoder without its head, and the head. Raises ModelError for a head that is more than a linear layer."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = inner.get_output_embeddings()
    plain = type(head) is nn.Linear or (isinstance(head, nn.Linear) and is_parametrized(head))  # new tokens' rows
    if not plain or head.bias is not None:
        raise ModelError(f"The output head of {type(inner).__name__} is not a plain linear layer.")
    return getattr(inner, inner.base_model_prefix), head


def layers_view(backbone: Any, start: int, stop: int) -> Any:
    """A module over layers [start, stop) of `backbone` that shares all its weights; only the last view has the norm."""
    view = copy.copy(backbone)
    view._modules = dict(backbone._modules)
    view.layers = nn.ModuleList(list(backbone.layers)[start:stop])
    if stop < len(backbone.layers):
        view.norm = nn.Identity()
    return view


def tree_states(
    backbone: Any, tree: PrefixTree, embeddings: torch.Tensor | None = None, nodes: Ints | None = None
) -> torch.Tensor:
    """Last hidden states [N, H] of all nodes, or of `nodes` [M] (with repetitions) alone as [M, H].

    `embeddings` [N, H] stand in for the embedded tokens when given.
    """
    weight = next(backbone.parameters())
    device, dtype = weight.device, weight.dtype
    tokens = {"input_ids": torch.from_numpy(tree.token_ids)[None].to(device)}
    given = {
        **(tokens if embeddings is None else {"inputs_embeds": embeddings[None]}),
        "position_ids": torch.from_numpy(tree.positions)[None].to(device),
        "tree_plan": planner(backbone.config._attn_implementation)(tree, dtype, device),
        "use_cache": False,
    }
    if nodes is None:
        whole: torch.Tensor = backbone(**given).last_hidden_state[0]
        return whole
    needed, places = np.unique(nodes, return_inverse=True)
    with last_layer_at(backbone, torch.from_numpy(needed).to(device)) as only_there:
        states: torch.Tensor = backbone(**given).last_hidden_state[0]
    return states.index_select(0, torch.from_numpy(places if only_there else nodes).to(device))
