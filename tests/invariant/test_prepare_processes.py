"""`tunesmith prepare` as a person runs it: two processes store the bytes of one, and --ray names what it lacks."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app

ROOT = Path(__file__).parents[2]
ROWS, REPEATED = 600, 24


def write_recipe(folder: Path, base: Path) -> Path:
    """600 rows about nothing alike (three chunks), every 25th of which stands there once more in capitals."""
    rows = []
    for number in range(ROWS):
        words = " ".join(f"w{number * step % 977}" for step in range(1, 9 + number % 7))
        rows.append({"prompt": words, "completion": f"answer {number % 5}"})
        if number % 25 == 0:
            rows.append({"prompt": words.upper() + " \u200b", "completion": f"answer {number % 5}"})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare = {
        "sources": [{"path": "rows.jsonl"}],
        "steps": [{"name": "clean"}],
        "system": "One of {labels}",
        "split": {"validation": 0.1, "test": 0.1, "seed": 3},
    }
    recipe = {"name": "n", "model": {"base": str(base)}, "prepare": prepare, "release": {"name": "n"}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    return folder / "recipe.yaml"


def prepared(recipe: Path, home: Path, *options: str) -> tuple[dict[str, Any], int]:
    """The manifest that the command prints, and the most worker processes it had at a time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TUNESMITH_HOME": str(home)}
    command = [sys.executable, "-m", "tunesmith.cli.main", "prepare", str(recipe), "--json", *options]
    output, most = home.with_suffix(".out"), 0
    with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
        running = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        try:
            while running.poll() is None:
                most = max(most, workers_of(running.pid))
                time.sleep(0.1)
        finally:
            running.kill()
    assert running.returncode == 0, output.with_suffix(".err").read_text()
    return json.loads(output.read_text()), most


def workers_of(pid: int) -> int:
    try:
        children = psutil.Process(pid).children()
        return sum("spawn_main" in " ".join(each.cmdline()) for each in children)
    except psutil.Error:  # gone between two looks
        return 0


def stored(home: Path) -> dict[str, bytes]:
    """All files of the only dataset, with the minute in which its report was made left out."""
    (folder,) = (home / "datasets").iterdir()
    made = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
    return {each.name: made.sub(b"", each.read_bytes()) for each in folder.iterdir()}


@pytest.mark.slow
def test_two_processes_store_what_one_stores(tmp_path: Path, tiny: Path) -> None:
    recipe = write_recipe(tmp_path, tiny)
    one, alone = prepared(recipe, tmp_path / "one", "--processes", "1")
    two, together = prepared(recipe, tmp_path / "two", "--processes", "2")
    assert (alone, together) == (0, 2)
    assert one["digest"] == two["digest"]
    assert one == two
    files = stored(tmp_path / "one")
    assert files == stored(tmp_path / "two")
    assert {"manifest.json", "train.jsonl", "validation.jsonl", "test.jsonl", "dropped.jsonl", "card.md"} <= set(files)
    ledger = one["ledger"]
    assert (ledger["rows_in"], ledger["rows_used"]) == (ROWS + REPEATED, ROWS)
    assert [(drop["reason"], drop["rows"]) for drop in ledger["drops"]] == [("duplicate", REPEATED)]
    assert files["dropped.jsonl"].count(b"\n") == REPEATED


@pytest.mark.parametrize("absent", ["ray", "pandas", "pyarrow"])
def test_without_ray_data_the_extra_is_named(
    absent: str, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    known = importlib.util.find_spec
    there = importlib.util.find_spec("json")
    others = {"ray", "pandas", "pyarrow"} - {absent}

    def found(name: str, package: str | None = None) -> Any:
        return None if name == absent else there if name in others else known(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    result = CliRunner().invoke(app, ["prepare", str(write_recipe(tmp_path, tiny)), "--ray"])
    assert result.exit_code == 1
    assert result.stderr == "--ray needs the package 'ray[data]'.\npip install 'tunesmith[ray]'\n"
    assert not (tmp_path / "home").exists()
