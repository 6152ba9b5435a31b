"""Rewards rise where they can, and a run with rewards that was killed ends with the same bytes as one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.invariant.policy_runs import LETTER, run

REPOSITORY = Path(__file__).parents[2]


def metrics(path: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (Path(path) / "metrics.jsonl").read_text().splitlines()]


GRPO = {"name": "grpo", "completions": 8, "max_tokens": 8, "beta": 0.01}
RLOO = {"name": "rloo", "completions": 8, "max_tokens": 8}
CONTAINS = {"name": "string_check", "operation": "like", "reference": "{{item.letter}}"}


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "grader"), [(GRPO, {"name": "python", "source": LETTER}), (RLOO, CONTAINS)])
def test_the_reward_rises(objective: dict[str, Any], grader: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
    """A letter of 259 tokens: chance writes it once in 259, the trained model mostly."""
    method = {"name": "lora", "rank": 8}
    record = run(tmp_path, tiny, epochs=6, objective=objective, grader=grader, method=method)
    steps = [line for line in metrics(record.path) if "sampling_gap" in line]
    rewards = [line["reward"] for line in steps]
    assert sum(rewards[:3]) / 3 < 0.15
    assert sum(rewards[-3:]) / 3 > 0.6
    assert record.best_validation_loss is not None
    assert record.best_validation_loss < -0.6
    assert "sampling and training give the same log-probabilities" in [check.name for check in record.checks]
    assert max(line["sampling_gap"] for line in steps) < 1e-5
    assert ("kl" in steps[0]) == ("beta" in objective)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, {"objective": RLOO | {"beta": 0.01}}],
    ids=["grpo", "rloo"],
)
def test_a_killed_run_with_rewards_ends_with_the_same_bytes(
    changes: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    whole = run(tmp_path / "whole", tiny, **changes)
    place = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.invariant.policy_runs", str(place), str(tiny), json.dumps(changes)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    deadline = time.monotonic() + 240
    while not list(place.glob("runs/*/checkpoints/step-*/state.json")):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(place.glob("runs/*/run.json"))
    resumed = run(place, tiny, **changes)
    assert resumed.adapter_digest == whole.adapter_digest
    assert resumed.best_validation_loss == whole.best_validation_loss

    def rewards(path: str) -> dict[float, float]:
        return {line["step"]: line["reward"] for line in metrics(path) if "reward" in line}

    assert rewards(resumed.path) == rewards(whole.path)
