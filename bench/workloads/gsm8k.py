"""sft where next to nothing is shared: the plain case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.workload import Wanted, Workload, chat_row

__all__ = ["Gsm8k"]


class Gsm8k(Workload):
    """Word problems with worked answers (Cobbe et al. 2021, arXiv:2110.14168), without a system prompt of our own."""

    title = "sft, nothing shared"
    wanted = Wanted(speed=4.0, peak_share=0.5)

    def rows(self, data: Path) -> list[dict[str, Any]]:
        """gsm8k/train_first_2500.jsonl."""
        lines = (data / "gsm8k" / "train_first_2500.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        return [chat_row(row["question"], row["answer"]) for row in rows]
