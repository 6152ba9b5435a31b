"""What an objective promises of its first step, checked on real rows: a loss of ln 2, a margin of 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunesmith.train.forward import Batching, score
from tunesmith.train.objective import Group, Objective, rows_of
from tunesmith.train.reference import sequence_logprobs
from tunesmith.train.selfchecks import tolerance
from tunesmith.train.trunk import Trunk
from tunesmith.types.dataset import Check

__all__ = ["identity_checks"]


def identity_checks(
    model: Any, groups: Sequence[Group], objective: Objective, how: tuple[Batching, Trunk | None], precision: str
) -> tuple[Check, ...]:
    """One check for each of the objective's identities, on `groups` (with their references) before the first step."""
    if not objective.identities:
        return ()
    batching, trunk = how
    complete = objective.complete(groups, lambda rows: sequence_logprobs(model, rows, batching, trunk))
    model.eval()
    with torch.no_grad():
        scored = score(model, rows_of(complete), batching, trunk, objective.needs)
        loss = float(objective.loss(scored, complete, objective.amount(complete)))
        found = {"loss": loss, **objective.metrics(scored, complete)}
    model.train()
    checks = []
    for metric, expected in objective.identities:
        gap = abs(found[metric] - expected) / max(1.0, abs(expected))
        checks.append(
            Check(
                name=f"before the first step the {metric.replace('_', ' ')} is {expected:.4g}",
                passed=gap <= tolerance(precision),
                checked=len(groups),
                detail=f"{found[metric]:.6f}",
            )
        )
    return tuple(checks)
