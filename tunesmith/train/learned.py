"""After the last step: did the run learn, and is what was saved what was trained? Otherwise it has failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tunesmith.models.attach import attach
from tunesmith.models.device import device_of
from tunesmith.models.reward import RewardModel
from tunesmith.train.forward import attention_backend, score, score_plainly
from tunesmith.train.objective import Needs, Objective
from tunesmith.train.selfchecks import token_check
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import Check

__all__ = ["IMPROVED", "Said", "after_last_step", "reloads_the_same", "said_of", "scores_the_same"]

IMPROVED = "held-out loss fell"
Tensors = dict[str, torch.Tensor]


def after_last_step(
    start: Tensors, end: Tensors, start_loss: float | None, best_loss: float | None
) -> tuple[Check, ...]:
    """Weights finite, adapter moved, held-out loss below its start (skipped without validation rows)."""
    broken = [name for name, tensor in end.items() if not bool(torch.isfinite(tensor).all())]
    moved = sum(float((end[name].float() - start[name].float()).pow(2).sum()) for name in end) ** 0.5
    checks = [
        Check(
            name="all trained weights are finite",
            passed=not broken,
            checked=len(end),
            detail=f"not finite: {broken[:3]}" if broken else "",
        ),
        Check(
            name="training changed the adapter",
            passed=moved > 0.0,
            checked=len(end),
            detail=f"L2 distance from the start {moved:.4g}",
        ),
    ]
    if start_loss is not None and best_loss is not None:
        detail = f"{start_loss:.4f} before, {best_loss:.4f} at the best checkpoint"
        checks.append(Check(name=IMPROVED, passed=best_loss < start_loss, checked=1, detail=detail))
    return tuple(checks)


class Said(NamedTuple):
    """What a trained model says of a few rows: log-probabilities, and scores where it gives any."""

    rows: Sequence[Rendered]
    logprobs: torch.Tensor
    values: torch.Tensor | None
    device: torch.device
    """where the model was"""


def said_of(model: Any, rows: Sequence[Rendered], objective: Objective) -> Said:
    """What the trained `model` says of `rows`, to be compared with what was saved when `model` is gone."""
    values = None
    with torch.no_grad(), attention_backend(model, "sdpa"):
        logprobs = torch.cat(score_plainly(model, rows)).cpu()
        if objective.needs.values:
            values = score(model, rows, "padded", needs=Needs(values=True)).values
    return Said(rows, logprobs, None if values is None else values.cpu(), device_of(model))


def reloads_the_same(trained: Said, base: Any, adapter: Path, precision: str) -> Check:
    """Put the saved adapter on an untouched `base` model and compare log-probabilities with the trained model's."""
    fresh = attach(base, adapter)
    with torch.no_grad():
        reloaded = torch.cat(score_plainly(fresh, trained.rows)).cpu()
    name = "the saved adapter, loaded anew, gives the same log-probabilities"
    return token_check(name, reloaded, trained.logprobs, precision)


def scores_the_same(trained: Said, base: Path, adapter: Path, precision: str) -> Check:
    """Load the saved reward model anew and compare its scores with the trained model's."""
    name = "the saved reward model, loaded anew, gives the same scores"
    if trained.values is None:
        return Check(name=name, passed=False, checked=0, detail="the model gives no scores")
    fresh = RewardModel(base, adapter, "bfloat16" if precision == "bfloat16" else "float32", trained.device)
    reloaded = torch.tensor([fresh.score_ids(row.token_ids) for row in trained.rows])
    return token_check(name, reloaded, trained.values, precision)
