"""Which rows made a loss that is no number? Found by scoring them one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from tunesmith.errors import TrainingFailed

__all__ = ["not_finite", "offenders"]

Item = TypeVar("Item")
SHOWN = 5


def offenders(
    items: Sequence[Item], loss_of: Callable[[Item], torch.Tensor], parameters: Sequence[torch.nn.Parameter]
) -> list[Item]:
    """Those of `items` whose own loss, or its gradient by any of `parameters`, is NaN or infinite.

    Gradients are cleared.
    """
    found = []
    for item in items:
        for parameter in parameters:
            parameter.grad = None
        loss = loss_of(item)
        sound = bool(torch.isfinite(loss))
        if sound and loss.requires_grad:
            loss.backward()
            sound = all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in parameters)
        if not sound:
            found.append(item)
    for parameter in parameters:
        parameter.grad = None
    return found


def not_finite(what: str, names: Sequence[str], parameters: Sequence[torch.nn.Parameter]) -> TrainingFailed:
    """The error for numbers that are not finite: `what` happened, caused by the rows called `names`."""
    if not all(bool(torch.isfinite(parameter).all()) for parameter in parameters):
        cause, hint = "The trained weights themselves are not finite any more", "Lower train.learning_rate"
    elif names:
        listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        cause, hint = f"It comes from: {listed}", "Look at these rows, lower train.learning_rate"
    else:
        cause, hint = "No row alone gives it: it comes from adding them up", "Lower train.learning_rate"
    return TrainingFailed(
        f"{what}. {cause}.", hint=f"{hint}, or set train.precision: float32. The last checkpoint is kept."
    )
