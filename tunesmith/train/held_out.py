"""How often a trained policy or reward model agrees with held-out preferences, measured once at the best checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from tunesmith.models.method import Method
from tunesmith.models.template import Renderer
from tunesmith.store.datasets import StoredDataset
from tunesmith.train.attention import TREE_ATTENTIONS
from tunesmith.train.forward import score
from tunesmith.train.objective import Needs, Objective
from tunesmith.train.pairs import in_pairs
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import SplitName
from tunesmith.types.run import PreferenceScore

__all__ = ["area_error", "held_out_split", "judged", "preference_score"]

CHUNK_PAIRS = 8


def held_out_split(dataset: StoredDataset, wanted: Sequence[SplitName]) -> SplitName | None:
    """The first of the `wanted` splits that holds preferences or judged answers; None when there is none."""
    if dataset.manifest.shape not in ("preference", "labelled"):
        return None
    return next((name for name in wanted if name in dataset.manifest.splits), None)


def preference_score(
    model: Any,
    method: Method,
    objective: Objective,
    renderer: Renderer,
    pairs: tuple[StoredDataset, SplitName | None],
) -> PreferenceScore | None:
    """The trained `model` on the preferences or judged answers of a split (`held_out_split`); None without one.

    The reward is the score head's value where the objective trains one, else what the objective itself raises
    (`Objective.reward`). A pair counts as won when the reward of chosen is above that of rejected; judged answers
    make a pair of each wanted with each unwanted one. Equal rewards count as lost.
    """
    dataset, split = pairs
    if split is None:
        return None
    examples = dataset.examples(split)
    rows = [
        renderer.render(conversation).after(method.virtual_ids())
        for example in examples
        for conversation in example.content.conversations
    ]
    rewards = _rewards(model, method, objective, rows)
    if dataset.manifest.shape == "preference":
        return _paired(split, in_pairs(rewards).margin)
    wanted = torch.tensor([example.wanted for example in examples])
    if wanted.all() or not wanted.any():
        return None
    return judged(split, rewards[wanted], rewards[~wanted])


def _paired(split: SplitName, margins: Tensor) -> PreferenceScore:
    share = float((margins > 0).double().mean())
    error = (share * (1 - share) / len(margins)) ** 0.5
    return PreferenceScore(
        split=split, pairs=len(margins), accuracy=share, standard_error=error, mean_margin=float(margins.mean())
    )


def judged(split: SplitName, wanted: Tensor, unwanted: Tensor) -> PreferenceScore:
    """How often a wanted answer's reward [W] is above an unwanted one's [U], over all W U pairs."""
    margins = wanted[:, None] - unwanted[None, :]
    area = float((margins > 0).double().mean())
    return PreferenceScore(
        split=split,
        pairs=margins.numel(),
        accuracy=area,
        standard_error=area_error(area, len(wanted), len(unwanted)),
        mean_margin=float(margins.mean()),
    )


def area_error(area: float, wanted: int, unwanted: int) -> float:
    """Standard error of an area under the ROC curve (Hanley & McNeil 1982, Radiology 143:29-36, eq. 1 and 2)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (wanted - 1) * (q1 - area**2) + (unwanted - 1) * (q2 - area**2)
    return float((max(0.0, spread) / (wanted * unwanted)) ** 0.5)


def _rewards(model: Any, method: Method, objective: Objective, rows: Sequence[Rendered]) -> Tensor:
    """[len(rows)] reward of each row's answer."""
    if objective.needs.values:
        scored = _scored(model, rows, Needs(values=True))
        return torch.cat([part.values for part in scored if part.values is not None])
    totals = []
    lengths = torch.empty(0)
    for place in (nullcontext(), method.without(model)):
        with place:
            scored = _scored(model, rows, Needs())
        totals.append(torch.cat([part.sequence_logprobs() for part in scored]))
        lengths = torch.cat([part.lengths() for part in scored])
    return objective.reward(totals[0], totals[1], lengths)


def _scored(model: Any, rows: Sequence[Rendered], needs: Needs) -> list[Any]:
    batching: Any = "tree" if model.config._attn_implementation in TREE_ATTENTIONS else "padded"
    model.eval()
    with torch.no_grad():
        return [
            score(model, rows[start : start + 2 * CHUNK_PAIRS], batching, needs=needs)
            for start in range(0, len(rows), 2 * CHUNK_PAIRS)
        ]
