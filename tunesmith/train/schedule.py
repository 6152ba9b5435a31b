"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Schedule", "learning_rate"]

Schedule = Literal["cosine", "linear", "constant"]


def learning_rate(step: int, total: int, peak: float, schedule: Schedule, warmup_ratio: float) -> float:
    """The rate used at `step` (0-based) of `total`.

    Linear warm-up over w = ceil(warmup_ratio * total) steps: peak * (step + 1) / w. After it, with t = (step - w) /
    (total - w):
    cosine: peak * (1 + cos(pi t)) / 2 (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5); linear: peak * (1 - t);
    constant: peak.
    """
    warmup = math.ceil(warmup_ratio * total)
    if step < warmup:
        return peak * (step + 1) / warmup
    fraction = (step - warmup) / max(1, total - warmup)
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * fraction)) / 2
    return peak * (1 - fraction) if schedule == "linear" else peak
