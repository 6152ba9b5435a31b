"""grpo's learning step: groups of 8 completions of one prompt, given to both sides instead of sampled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.workload import Wanted, Workload

__all__ = ["Grpo"]

GROUP, MAX_TOKENS = 8, 256
SYSTEM = "Solve the problem step by step. Write the final number after ####."


class Grpo(Workload):
    """A problem with its right answer and those of seven other problems, so completions share nothing but the prompt.

    Rewards are 1 for the right answer and 0 for the others. The policy is the one that the completions are said to come
    from, so every ratio is 1 and the loss is minus the mean advantage, which is 0 by construction: the norms of the
    gradients are compared instead.
    """

    title = "grpo, learning step, group of 8"
    wanted = Wanted(speed=4.0)
    batch = 1
    learning_rate = 5e-5
    peer = "grpo"
    compared = "gradient_norms"

    def rows(self, data: Path) -> list[dict[str, Any]]:
        """gsm8k's questions, each with the `completions` to learn from, the right one first."""
        lines = (data / "gsm8k" / "train_first_2500.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        made = []
        for index, row in enumerate(rows):
            others = [rows[(index + place) % len(rows)]["answer"] for place in range(1, GROUP)]
            opening = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": row["question"]}]
            made.append({"prompt": opening, "answer": row["answer"], "completions": [row["answer"], *others]})
        return made

    def objective(self) -> dict[str, Any]:
        """The paper's average over each completion, then over completions; no penalty (TRL's default)."""
        return {"name": "grpo", "completions": GROUP, "max_tokens": MAX_TOKENS}

    def grader(self) -> dict[str, Any]:
        """1 for the very answer."""
        return {"name": "string_check", "reference": "{{item.answer}}"}
