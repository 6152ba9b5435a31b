"""sft where every row opens with the same long system prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.workload import Wanted, Workload, chat_row
from tunesmith.recipes import load_recipe

__all__ = ["Disputes"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "disputes"


class Disputes(Workload):
    """The disputes example as its recipe trains it: about 285 tokens a row, of which 217 are the system prompt."""

    title = "sft, shared system prompt"
    wanted = Wanted(speed=10.0)

    def rows(self, data: Path) -> list[dict[str, Any]]:
        """The example's own training rows behind its recipe's system prompt."""
        system = load_recipe(EXAMPLE / "recipe.yaml").prepare.system
        lines = (EXAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        return [chat_row(row["complaint"], row["category"], system) for row in rows]
