"""A process of several that dies or freezes ends all of them, by name; a signal stops all after the same step."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.invariant.rank_stall import WAIT_SECONDS
from tests.invariant.runs import write_recipe
from tunesmith.errors import TrainingFailed
from tunesmith.train.parallel.launch import launch as start_ranks

ROOT = Path(__file__).parents[2]
Start = Callable[[Path, Path], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a job of two ranks; whatever the test does, none of its processes outlives it."""
    started: list[subprocess.Popen[str]] = []

    def begin(recipe: Path, home: Path) -> subprocess.Popen[str]:
        started.append(launch(recipe, home))
        return started[-1]

    yield begin
    for launcher in started:
        if launcher.poll() is None:
            for process in (*psutil.Process(launcher.pid).children(recursive=True), launcher):
                process.kill()
            launcher.communicate()


def launch(recipe: Path, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "TUNESMITH_HOME": str(home)}
    command = [sys.executable, "-m", "tunesmith.cli.main", "train", str(recipe), "--processes", "2"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rank_processes(launcher: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    children = psutil.Process(launcher.pid).children()
    return {int(child.environ()["RANK"]): child for child in children}


def metrics(home: Path) -> list[dict[str, Any]]:
    (file,) = home.glob("runs/*/metrics.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def wait_for_step(home: Path, process: subprocess.Popen[str], step: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if any(f'"step": {step},' in file.read_text() for file in home.glob("runs/*/metrics.jsonl")):
            return
        time.sleep(0.01)
    pytest.fail(f"the run never reached step {step}: {process.communicate()[1]}")


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_and_is_named(tmp_path: Path, tiny: Path, start: Start) -> None:
    launcher = start(write_recipe(tmp_path, tiny, epochs=400), tmp_path / "home")
    wait_for_step(tmp_path / "home", launcher, 5)
    processes = rank_processes(launcher)
    processes[1].kill()
    _, errors = launcher.communicate(timeout=200)
    assert launcher.returncode == 1
    assert f"Rank 1 (process {processes[1].pid}) was killed by SIGKILL" in errors
    assert "Traceback" not in errors
    assert not any(process.is_running() for process in processes.values())


@pytest.mark.slow
@pytest.mark.parametrize("frozen_rank", [0, 1])
def test_a_frozen_rank_is_named_with_the_collective_that_waits_for_it(
    frozen_rank: int, tmp_path: Path, tiny: Path, start: Start
) -> None:
    """Rank 0 keeps the store through which the others give their signs."""
    recipe = write_recipe(tmp_path, tiny, epochs=400, parallel={"silence_seconds": 5})
    launcher = start(recipe, tmp_path / "home")
    wait_for_step(tmp_path / "home", launcher, 5)
    processes = rank_processes(launcher)
    processes[frozen_rank].suspend()
    _, errors = launcher.communicate(timeout=200)
    assert launcher.returncode == 1
    assert re.search(rf"Rank {frozen_rank}( \(or torchrun's agent\).*)? gave no sign of life for 5 s", errors)
    waits = rf"Rank {1 - frozen_rank} waits for it in: (sum of|exchange of|comparison of the ranks' weights)"
    assert re.search(waits, errors)
    assert not any(process.is_running() for process in processes.values())


@pytest.mark.slow
def test_asked_to_stop_all_ranks_stop_after_the_same_step(tmp_path: Path, tiny: Path, start: Start) -> None:
    recipe = write_recipe(tmp_path, tiny, epochs=400, checkpoint_every=10_000)
    launcher = start(recipe, tmp_path / "home")
    wait_for_step(tmp_path / "home", launcher, 8)
    launcher.send_signal(signal.SIGTERM)
    _, errors = launcher.communicate(timeout=200)
    assert launcher.returncode == 143, errors
    assert "Stopped by SIGTERM after step" in errors
    assert "a checkpoint is saved" in errors
    last = max(line["step"] for line in metrics(tmp_path / "home"))
    assert list((tmp_path / "home").glob(f"runs/*/checkpoints/step-{last:06d}/state.json"))


@pytest.mark.slow
def test_a_rank_that_lives_but_does_not_come_is_told_by_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    began = time.monotonic()
    with pytest.raises(TrainingFailed) as failed:
        start_ranks([sys.executable, "-m", "tests.invariant.rank_stall"], 2)
    assert time.monotonic() - began < 8 * WAIT_SECONDS
    message = failed.value.message
    assert "Rank 0 lost another rank in: sum of the step's numbers (step 7); rank 1 was last seen at step 7." in message
