"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.workload import Wanted, Workload
from bench.workloads.gsm8k import Gsm8k

__all__ = ["Full"]


class Full(Workload):
    """The rows of gsm8k, half as many a step: TRL's activations beside gradients and moments fill the memory."""

    title = "sft, every weight trained"
    wanted = Wanted()
    batch = 8
    learning_rate = 2e-5
    full = True

    def rows(self, data: Path) -> list[dict[str, Any]]:
        """As gsm8k."""
        return Gsm8k().rows(data)
