"""dpo: two long answers to one prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.workload import Wanted, Workload

__all__ = ["Dpo"]


class Dpo(Workload):
    """Preferences of Orca (OpenAI's form), with the start policy as reference.

    TRL computes the reference in each step, we compute it once before the first one: our time counts the share of that
    pass which belongs to the timed steps, as in a run of one epoch. Later epochs do not pay it again.
    """

    title = "dpo"
    wanted = Wanted(speed=5.0)
    batch = 2
    max_tokens = 1024
    learning_rate = 5e-5
    peer = "dpo"

    def rows(self, data: Path) -> list[dict[str, Any]]:
        """azure_finetuning/dpo_orca_validation.jsonl as it is."""
        lines = (data / "azure_finetuning" / "dpo_orca_validation.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def objective(self) -> dict[str, Any]:
        """Sigmoid, beta 0.1: TRL's default too."""
        return {"name": "dpo", "beta": 0.1}
