"""Rows on disk, work in several processes: the same bytes, no orphans, nothing half stored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tunesmith.errors import DataError, TunesmithError
from tunesmith.models.template import Renderer
from tunesmith.prepare.rowfile import RowFile
from tunesmith.prepare.scratch import scratch_folder
from tunesmith.prepare.stage import prepare
from tunesmith.prepare.workers import LARGE_BYTES, Workers, usual_processes
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.recipe import PrepareSpec

STEPS = [{"name": "clean"}, {"name": "near_duplicates"}, {"name": "where", "field": "language", "values": ["en"]}]
CHILD = """
import sys
from pathlib import Path
from tunesmith.garbage import search_rarely
from tunesmith.models.template import Renderer
from tunesmith.prepare.stage import prepare
from tunesmith.prepare.workers import Workers
from tunesmith.types.recipe import PrepareSpec

if __name__ == "__main__":
    search_rarely()
    tiny, folder, home, processes = sys.argv[1:]
    spec = PrepareSpec.model_validate({"sources": [{"path": "rows.jsonl"}], "max_drop_rate": 1.0})
    renderer, workers = Renderer(Path(tiny)), Workers(int(processes))
    prepare(spec, renderer=renderer, base_dir=Path(folder), home=Path(home), workers=workers)
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def write_rows(path: Path, count: int) -> None:
    with path.open("w") as stream:
        for number in range(count):
            words = " ".join(f"w{number * step % 977}" for step in range(1, 9 + number % 7))
            language = "de" if number % 9 == 0 else "en"
            row = {"prompt": words, "completion": f"answer {number % 5}", "language": language}
            stream.write(json.dumps(row) + "\n")
            if number % 20 == 0:
                stream.write(json.dumps({**row, "prompt": words.upper() + " \u200b"}) + "\n")


def files(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted(folder.iterdir())}


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(tmp_path: Path, tiny: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", 900)
    spec = PrepareSpec.model_validate(
        {
            "sources": [{"path": "rows.jsonl"}],
            "steps": STEPS,
            "system": "One of {labels}",
            "max_drop_rate": 1.0,
            "split": {"seed": 3},
        }
    )
    renderer = Renderer(tiny)
    stored = [
        prepare(spec, renderer=renderer, base_dir=tmp_path, home=tmp_path / f"home{count}", workers=Workers(count))
        for count in (1, 2)
    ]
    assert files(stored[0].path) == files(stored[1].path)
    assert not any("spawn_main" in " ".join(each.cmdline()) for each in psutil.Process().children())
    manifest = stored[0].manifest
    assert manifest.ledger.rows_in == 945
    assert manifest.system_prompt == "One of answer 0, answer 1, answer 2, answer 3, answer 4"
    assert {drop.reason for drop in manifest.ledger.drops} == {"near_duplicate", "not_where"}
    dropped = list(stored[0].dropped())
    assert len(dropped) == manifest.ledger.rows_in - manifest.ledger.rows_used
    assert sum(sum(row.sizes) for row in dropped) == sum(drop.tokens for drop in manifest.ledger.drops) > 0
    found = list(stored[0].findings())
    near = sum((each.step, each.kind) == ("near_duplicates", "near_duplicate") for each in found)
    assert manifest.findings["near_duplicates"]["near_duplicate"] == near > 0


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["worker", "parent"])
def test_a_killed_process_leaves_nothing_behind(killed: str, tmp_path: Path, tiny: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", 60_000)
    (tmp_path / "child.py").write_text(CHILD)
    home = tmp_path / "home"
    command = [sys.executable, str(tmp_path / "child.py"), str(tiny), str(tmp_path), str(home), "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        workers = _workers(child.pid, home)
        os.kill(workers[0].pid if killed == "worker" else child.pid, signal.SIGKILL)
        _, said = child.communicate(timeout=120)
        psutil.wait_procs(workers, timeout=120)
        assert not any(each.is_running() for each in workers)
    finally:
        child.kill()
    assert not list((home / "datasets").glob("*")) if (home / "datasets").exists() else True
    if killed == "worker":
        assert "A process that prepared rows was killed" in said
        assert not (home / "scratch").exists()
        return
    assert len(list((home / "scratch").iterdir())) == 1  # nobody was left to remove it
    with scratch_folder(home) as folder:
        assert list((home / "scratch").iterdir()) == [folder]


def _workers(pid: int, home: Path) -> list[psutil.Process]:
    """The two worker processes, once the first rows have come back."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = [each for each in psutil.Process(pid).children() if "spawn_main" in " ".join(each.cmdline())]
        written = sum(each.stat().st_size for each in home.glob("scratch/*/rows-1.jsonl"))
        if len(found) == 2 and written:
            return found
        time.sleep(0.05)
    raise AssertionError("no rows came back in time")


def test_a_full_disk_leaves_no_dataset(tmp_path: Path, tiny: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", 400)
    (tmp_path / "child.py").write_text(
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n" + CHILD
    )
    home = tmp_path / "home"
    command = [sys.executable, str(tmp_path / "child.py"), str(tiny), str(tmp_path), str(home), "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "The dataset cannot be prepared" in done.stderr
    assert "MB are free" in done.stderr
    assert not home.exists() or not [each for each in home.rglob("*") if each.is_file()]


def test_rows_are_read_anywhere(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "a")
    rows.extend([b"one\n", b"two two\n"])
    assert rows.line(1) == b"two two\n"
    rows.extend([b"\n"])
    assert list(rows.lines([2, 0])) == [b"\n", b"one\n"]
    assert len(rows) == 3
    rows.remove()
    assert not (tmp_path / "a").exists()


def test_small_sources_are_prepared_in_this_process() -> None:
    assert usual_processes(LARGE_BYTES - 1) == 1
    assert usual_processes(LARGE_BYTES) == min(2, len(os.sched_getaffinity(0)))


def test_an_unwritable_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(TunesmithError, match="cannot be prepared"), scratch_folder(tmp_path / "home"):
        pass


def test_dropped_rows_say_what_they_repeat(run: Any) -> None:
    dataset = run({"a.csv": "prompt,completion\na,x\nb,y\nA ,x\n<bad>,x\n"})
    dropped = {row.line: (row.reason, row.detail) for row in dataset.dropped()}
    assert dropped == {4: ("duplicate", "repeats a.csv:2"), 5: ("unrenderable", "Message 0 holds <bad>.")}


def test_a_changed_list_of_dropped_rows_is_noticed(run: Any) -> None:
    from tunesmith.store.datasets import load_dataset

    dataset = run({"a.csv": "prompt,completion\na,x\nA ,x\n"})
    (dataset.path / "dropped.jsonl").write_text("")
    with pytest.raises(DataError, match="is not what was stored"):
        load_dataset(dataset.path.parents[1], dataset.manifest.digest)
