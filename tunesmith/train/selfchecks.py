"""What a run proves about itself before its first step; each proof is stored in the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from tunesmith.errors import ModelError, TrainingFailed
from tunesmith.train.forward import Batching, attention_backend, score, score_plainly
from tunesmith.train.objective import Group, Objective, rows_of
from tunesmith.train.plan import split_evenly
from tunesmith.train.reference import sequence_logprobs
from tunesmith.train.trunk import Trunk
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import Check

__all__ = [
    "NO_OP",
    "SAME_START",
    "Start",
    "before_first_step",
    "leak_probe",
    "require",
    "start_of",
    "token_check",
    "tolerance",
    "trunk_check",
]

PROBE_ROWS = 4
START_ROWS = 2
NO_OP = "the fresh adapter is a no-op"
SAME_START = "training starts as the adapter that it starts from"


class Start(NamedTuple):
    """Log-probabilities of a few rows under the base (or the adapter that training starts from), and as which check
    the run promises to start from them; None when it does not.
    """

    said: torch.Tensor
    promise: str | None


def tolerance(precision: str) -> float:
    """Largest relative difference that rounding explains: float32 sums in another order, bfloat16 8-bit mantissas."""
    return 1e-4 if precision == "float32" else 3e-2


def token_check(name: str, got: torch.Tensor, expected: torch.Tensor, precision: str) -> Check:
    """Whether two ways to the same tokens' log-probabilities agree to rounding.

    The largest difference counts relative to the largest magnitude expected where that is above 1. A log-probability is
    a difference of logits of size 20 or so: in float32 (24 bits) spaced 2e-6 apart, in bfloat16 (8 bits) 0.125.
    """
    limit = 1e-4 if precision == "float32" else 0.15
    gap = float((got - expected).abs().max() / expected.abs().max().clamp(min=1.0))
    return Check(name=name, passed=gap <= limit, checked=len(got), detail=f"largest difference {gap:.1e}")


def require(checks: Sequence[Check]) -> None:
    """Raise TrainingFailed naming every check that did not hold."""
    failed = [check for check in checks if not check.passed]
    if failed:
        raise TrainingFailed(
            "The run's self-checks failed:\n" + "\n".join(f"  {check.name}: {check.detail}" for check in failed),
            hint="Nothing is released from this run; its directory holds the evidence (checks.json, metrics.jsonl).",
        )


def start_of(model: Any, rows: Sequence[Rendered], batching: Batching, promise: str | None) -> Start:
    """What `model` (the base, or the start on it) says of the first rows, asked before a method changes the base."""
    with torch.no_grad():
        return Start(score(model, rows[:START_ROWS], batching).logprobs, promise)


def before_first_step(
    model: Any, groups: Sequence[Group], objective: Objective, batching: Batching, precision: str, start: Start
) -> tuple[Check, ...]:
    """The leak probe, parity with the model's own forward, adapter no-op and accumulation invariance on real rows.

    The groups carry their references where the objective needs them.

    Dropout is off meanwhile: it samples one mask per piece, so it would hide what is compared.
    """
    few = groups[:PROBE_ROWS]
    rows = rows_of(few)[:PROBE_ROWS]
    model.eval()
    checks = [_parity(model, rows, batching, precision), _starts_as_promised(model, rows, batching, precision, start)]
    if batching == "tree":
        checks.insert(0, leak_probe(model, rows[0]))
    if len(few) > 1:
        checks.append(_accumulation(model, few, objective, batching, precision))
    model.train()
    return tuple(checks)


def leak_probe(model: Any, row: Rendered) -> Check:
    """Change one branch of a two-branch tree; the other branch's log-probabilities must stay bit-equal.

    Catches attention implementations that ignore the tree's mask (sliding windows, linear attention, state-space
    layers).
    """
    name = "leak probe: changing one branch leaves the other bit-equal"
    cut = next(index for index, weight in enumerate(row.loss_weights) if weight > 0)
    other = [list(row.token_ids) for _ in range(2)]
    for branch, shift in zip(other, (1, 2), strict=True):
        # Both on the same side of the original, so that the order of the branches stays.
        branch[cut:] = [token - shift if token > 2 else token + shift for token in branch[cut:]]
    twin = row.model_copy(update={"token_ids": tuple(other[0]), "loss_weights": (0.0,) * len(row.token_ids)})
    changed = twin.model_copy(update={"token_ids": tuple(other[1])})
    try:
        with torch.no_grad():
            first = score(model, [row, twin], "tree").logprobs
            second = score(model, [row, changed], "tree").logprobs
    except (ModelError, TypeError, KeyError) as error:
        return Check(name=name, passed=False, checked=0, detail=f"this model cannot take a tree mask ({error})")
    gap = float((first - second).abs().max())
    return Check(name=name, passed=gap == 0.0, checked=len(first), detail=f"largest difference {gap:.3g}")


def trunk_check(model: Any, trunk: Trunk, rows: Sequence[Rendered], precision: str) -> Check:
    """Steps that begin at the kept trunk give the log-probabilities of whole forward passes."""
    few = rows[:PROBE_ROWS]
    with torch.no_grad():
        whole = score(model, few, "tree").logprobs
        above = score(model, few, "tree", trunk).logprobs
    return token_check("steps from the kept frozen layers equal whole forward passes", above, whole, precision)


def _parity(model: Any, rows: Sequence[Rendered], batching: Batching, precision: str) -> Check:
    with torch.no_grad():
        ours = score(model, rows, batching)
        with attention_backend(model, "sdpa"):
            plain = score_plainly(model, rows)
    weights = [weight for row in rows for weight in row.loss_weights[1:] if weight > 0]
    expected = -float((torch.cat(plain).cpu() * torch.tensor(weights)).sum()) / sum(weights)
    got = -float((ours.logprobs * ours.weights).sum() / ours.weights.sum())
    gap = abs(got - expected) / max(abs(expected), 1.0)
    return Check(
        name=f"{batching} loss equals the model's own forward, row by row",
        passed=gap <= tolerance(precision),
        checked=len(rows),
        detail=f"{got:.6f} against {expected:.6f}, relative difference {gap:.1e}",
    )


def _starts_as_promised(
    model: Any, rows: Sequence[Rendered], batching: Batching, precision: str, start: Start
) -> Check:
    with torch.no_grad():
        adapted = score(model, rows[:START_ROWS], batching).logprobs
    if start.promise is not None:
        return token_check(start.promise, adapted, start.said, precision)
    gap = float((adapted - start.said).abs().mean())
    detail = f"log-probabilities begin {gap:.3f} away from the base on average"
    return Check(name="this method does not start as the base", passed=True, checked=len(adapted), detail=detail)


def _accumulation(
    model: Any, groups: Sequence[Group], objective: Objective, batching: Batching, precision: str
) -> Check:
    whole = _gradients(model, groups, 1, objective, batching)
    pieces = _gradients(model, groups, 2, objective, batching)
    difference = sum(float((a.float() - b.float()).pow(2).sum()) for a, b in zip(whole, pieces, strict=True))
    gap = (difference / max(sum(float(a.float().pow(2).sum()) for a in whole), 1e-40)) ** 0.5
    return Check(
        name="accumulated gradient equals the whole step's",
        passed=gap <= 10 * tolerance(precision),
        checked=len(groups),
        detail=f"relative difference {gap:.1e}",
    )


def _gradients(
    model: Any, groups: Sequence[Group], pieces: int, objective: Objective, batching: Batching
) -> list[torch.Tensor]:
    """All gradients of one step in `pieces`, taken off the model."""
    complete = objective.complete(groups, lambda rows: sequence_logprobs(model, rows, batching))
    total = objective.amount(complete)
    for piece in split_evenly(complete, pieces):
        objective.loss(score(model, rows_of(piece), batching, None, objective.needs), piece, total).backward()
    gradients = []
    for parameter in model.parameters():
        if parameter.grad is not None:
            gradients.append(parameter.grad)
            parameter.grad = None
    return gradients
