"""Whole runs with virtual tokens under the objectives that render rows of their own: rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.invariant.policy_runs import run

# Half of all characters count, so that a few steps are enough for the held-out reward to rise.
ODD = """
def grade(sample, item):
    text = sample["output_text"]
    return sum(ord(c) % 2 for c in text) / max(1, len(text))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [{"name": "prompt", "tokens": 3}, {"name": "ptuning", "tokens": 3}], ids=lambda method: method["name"]
)
def test_rewards_are_sampled_behind_the_virtual_tokens(method: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
    objective = {"name": "grpo", "completions": 8, "max_tokens": 8, "beta": 0.01}
    grader = {"name": "python", "source": ODD}
    record = run(tmp_path, tiny, method=method, objective=objective, grader=grader, learning_rate=0.05)
    assert all(check.passed for check in record.checks)
    names = {check.name for check in record.checks}
    assert "sampling and training give the same log-probabilities" in names
    assert "training changed the adapter" in names
