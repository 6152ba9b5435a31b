"""How often a trained policy or reward model agrees with held-out preferences, measured once at the best checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tunesmith.models.method import Method
from tunesmith.models.template import Renderer
from tunesmith.store.datasets import StoredDataset
from tunesmith.train.attention import TREE_ATTENTIONS
from tunesmith.train.forward import score
from tunesmith.train.objective import Needs
from tunesmith.train.pairs import in_pairs
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import SplitName
from tunesmith.types.run import PreferenceScore

__all__ = ["held_out_split", "preference_score"]

CHUNK_PAIRS = 8


class _Figures(NamedTuple):
    """[2 G] each: the rewards of chosen and rejected in turn, whole and per answer token."""

    whole: Tensor
    per_token: Tensor | None


def held_out_split(dataset: StoredDataset, wanted: Sequence[SplitName]) -> SplitName | None:
    """The first of the `wanted` splits that holds preferences; None when there is none."""
    if dataset.manifest.shape != "preference":
        return None
    return next((name for name in wanted if name in dataset.manifest.splits), None)


def preference_score(
    model: Any, method: Method, renderer: Renderer, pairs: tuple[StoredDataset, SplitName | None], by_head: bool
) -> PreferenceScore | None:
    """The trained `model` on the pairs of a split (`held_out_split`); None without one.

    A pair counts as won when the reward of chosen is above that of rejected: the score head's value with `by_head`,
    else the log-ratio log p(y | x) - log p_start(y | x) to the policy before training (Rafailov et al. 2023,
    arXiv:2305.18290, eq. 5), whole and per answer token. Equal rewards count as lost.
    """
    dataset, split = pairs
    if split is None:
        return None
    rows = [
        renderer.render(conversation).after(method.virtual_ids())
        for example in dataset.examples(split)
        for conversation in example.content.conversations
    ]
    figures = _values(model, rows) if by_head else _log_ratios(model, method, rows)
    wins = in_pairs(figures.whole).margin > 0
    per_token = in_pairs(figures.per_token).margin > 0 if figures.per_token is not None else None
    return PreferenceScore(
        split=split,
        pairs=len(wins),
        accuracy=float(wins.float().mean()),
        accuracy_per_token=float(per_token.float().mean()) if per_token is not None else None,
        mean_margin=float(in_pairs(figures.whole).margin.mean()),
    )


def _values(model: Any, rows: Sequence[Rendered]) -> _Figures:
    scored = _scored(model, rows, Needs(values=True))
    return _Figures(torch.cat([part.values for part in scored if part.values is not None]), None)


def _log_ratios(model: Any, method: Method, rows: Sequence[Rendered]) -> _Figures:
    totals = []
    lengths = torch.empty(0)
    for place in (nullcontext(), method.without(model)):
        with place:
            scored = _scored(model, rows, Needs())
        totals.append(torch.cat([part.sequence_logprobs() for part in scored]))
        lengths = torch.cat([part.lengths() for part in scored])
    ratios = totals[0] - totals[1]
    return _Figures(ratios, ratios / lengths)


def _scored(model: Any, rows: Sequence[Rendered], needs: Needs) -> list[Any]:
    batching: Any = "tree" if model.config._attn_implementation in TREE_ATTENTIONS else "padded"
    model.eval()
    with torch.no_grad():
        return [
            score(model, rows[start : start + 2 * CHUNK_PAIRS], batching, needs=needs)
            for start in range(0, len(rows), 2 * CHUNK_PAIRS)
        ]
