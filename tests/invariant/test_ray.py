"""A local Ray cluster of two workers trains what one process trains; a rank that dies there is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.invariant import rank_runs
from tests.invariant.test_processes import ROOT, wait_for_step
from tests.invariant.test_processes_agree import SFT, assert_same, write

pytest.importorskip("ray", reason="pip install 'tunesmith[ray]'")


def start(recipe: Path, home: Path) -> subprocess.Popen[str]:
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TUNESMITH_HOME": str(home)}
    command = [sys.executable, "-m", "tunesmith.cli.main", "train", str(recipe), "--processes", "2", "--ray"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ranks_of(recipe: Path) -> Iterator[tuple[int, psutil.Process]]:
    for process in psutil.process_iter():
        try:
            if str(recipe) in process.cmdline() and "--ray" not in process.cmdline():
                yield int(process.environ()["RANK"]), process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


@pytest.mark.slow
def test_two_workers_train_what_one_process_trains(tmp_path: Path, tiny: Path) -> None:
    recipe = write(tmp_path / "run", tiny, SFT)
    process = start(recipe, recipe.parent / "several")
    said, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert "next: tunesmith evaluate" in said
    rank_runs.train([recipe], "one")
    assert_same(recipe, "several")


@pytest.mark.slow
def test_a_rank_killed_on_its_worker_is_named(tmp_path: Path, tiny: Path) -> None:
    recipe = write(tmp_path / "run", tiny, SFT, epochs=2000)
    process = start(recipe, tmp_path / "home")
    wait_for_step(tmp_path / "home", process, 5)
    ranks = dict(ranks_of(recipe))
    ranks[1].kill()
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 1
    assert f"Rank 1 (process {ranks[1].pid}) was killed by SIGKILL" in errors
    psutil.wait_procs(ranks.values(), timeout=60)
    assert not any(rank.is_running() for rank in ranks.values())
