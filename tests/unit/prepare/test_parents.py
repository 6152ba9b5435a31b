"""A dataset made of the files of another names it, wherever those files lie."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.prepare.report.write import write_report
from tunesmith.store.dataset_export import export_dataset
from tunesmith.store.datasets import StoredDataset

CSV = "prompt,completion\n" + "".join(f"q{number},a{number % 3}\n" for number in range(12))


@pytest.fixture
def first(run: Any) -> StoredDataset:
    return run({"a.csv": CSV})


def made_of(run: Any, *paths: Path) -> StoredDataset:
    return run({}, sources=[{"path": str(path)} for path in paths])


def test_a_dataset_of_raw_files_has_no_parents(first: StoredDataset) -> None:
    assert first.manifest.parents == ()


def test_a_stored_split_and_a_copy_of_it_name_the_dataset(first: StoredDataset, run: Any, tmp_path: Path) -> None:
    copy = shutil.copyfile(first.path / "train.jsonl", tmp_path / "copied.jsonl")
    for path in (first.path / "train.jsonl", copy):
        child = made_of(run, path).manifest
        assert child.parents == (first.manifest.digest,)
        assert (child.ledger.rows_used, child.sources[0].format) == (12, "prepared (jsonl)")
        assert child.labels == ("a0", "a1", "a2")


def test_an_export_names_its_dataset_where_that_is_not_stored(first: StoredDataset, run: Any, tmp_path: Path) -> None:
    folder = export_dataset(first, tmp_path / "exported")
    shutil.rmtree(tmp_path / "home")
    assert made_of(run, folder / "train.jsonl").manifest.parents == (first.manifest.digest,)
    shutil.rmtree(tmp_path / "home")
    (folder / "manifest.json").write_text('{"name": "the manifest of another program"}')
    assert made_of(run, folder / "train.jsonl").manifest.parents == ()


def test_a_changed_split_has_no_parent(first: StoredDataset, run: Any, tmp_path: Path) -> None:
    lines = (first.path / "train.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "fewer.jsonl").write_bytes(b"".join(lines[1:]))
    assert made_of(run, tmp_path / "fewer.jsonl").manifest.parents == ()


def test_parents_stand_once_in_the_order_of_the_sources(first: StoredDataset, run: Any, tmp_path: Path) -> None:
    rows = "prompt,completion\n" + "".join(f"r{number},b{number % 3}\n" for number in range(20))
    second = run({"b.csv": rows}, split={"validation": 0.2, "test": 0})
    child = made_of(run, second.path / "train.jsonl", first.path / "train.jsonl", second.path / "validation.jsonl")
    assert child.manifest.parents == (second.manifest.digest, first.manifest.digest)
    assert child.manifest.ledger.rows_used == 32


def test_of_two_datasets_with_the_same_split_the_oldest_is_the_parent(first: Any, run: Any, tmp_path: Path) -> None:
    second = run({"a.csv": CSV}, max_drop_rate=0.5)
    assert second.manifest.split_digests == first.manifest.split_digests
    copy = shutil.copyfile(first.path / "train.jsonl", tmp_path / "copied.jsonl")
    os.utime(second.path / "manifest.json", (1, 1))
    assert made_of(run, copy).manifest.parents == (second.manifest.digest,)
    beside = made_of(run, first.path / "train.jsonl").manifest
    assert beside.parents == (first.manifest.digest,)


def test_the_card_the_report_and_the_command_line_show_the_parent(
    first: StoredDataset, run: Any, renderer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    child = made_of(run, first.path / "train.jsonl")
    shown = CliRunner().invoke(app, ["data", "show", child.manifest.digest[:16]])
    assert shown.exit_code == 0, shown.output
    assert f"parent: the dataset {first.manifest.digest[:16]}" in shown.stdout
    renderer.piece = str
    written = write_report(child, renderer, title="child", limit=64)
    assert f"Made of the rows of: dataset `{first.manifest.digest}`." in written.card.read_text()
    assert first.manifest.digest in written.page.read_text()
