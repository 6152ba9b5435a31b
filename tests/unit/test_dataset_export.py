"""Exports are whole, checked to the byte and replaceable; every kind of damage is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.prepare.reported import EXAMPLES, Words, store
from tunesmith.errors import DataError, NotFound
from tunesmith.prepare.report.write import write_report
from tunesmith.store.dataset_export import SUMS_FILE, export_dataset, verify_dataset
from tunesmith.store.dataset_index import all_datasets, find_dataset
from tunesmith.store.datasets import StoredDataset, load_folder


@pytest.fixture
def stored(tmp_path: Path) -> StoredDataset:
    found = store(tmp_path / "home")
    write_report(found, Words(), title="bank", limit=64)
    return found


def faults(folder: Path) -> dict[str, str]:
    return {check.name: check.fault for check in verify_dataset(load_folder(folder)) if check.fault}


def test_an_export_holds_every_file_and_is_checked_by_sha256sum(stored, tmp_path):
    folder = export_dataset(stored, tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "SHA256SUMS", "adjudication.jsonl", "dropped.jsonl", "facts.json", "findings.jsonl",
        "manifest.json", "report.html", "test.jsonl", "train.jsonl",
    }  # fmt: skip
    assert (folder / "README.md").read_bytes() == (stored.path / "card.md").read_bytes()
    assert (folder / "train.jsonl").read_bytes() == (stored.path / "train.jsonl").read_bytes()
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", SUMS_FILE], cwd=folder, capture_output=True, check=False
    )
    assert checked.returncode == 0
    assert faults(folder) == faults(stored.path) == {}


def test_an_export_is_a_dataset_that_can_be_exported_again(stored, tmp_path):
    folder = export_dataset(stored, tmp_path / "out")
    (folder / "train.jsonl").write_text("damaged\n")
    export_dataset(stored, folder)
    assert faults(folder) == {}
    again = find_dataset(tmp_path / "home", str(folder))
    assert again.examples("train") == tuple(EXAMPLES["train"])
    assert faults(export_dataset(again, tmp_path / "copy")) == {}


def test_a_folder_with_other_files_is_left_alone(stored, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="no exported dataset"):
        export_dataset(stored, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_nothing_half_is_left_where_it_cannot_be_written(stored, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "train.jsonl")

    monkeypatch.setattr("tunesmith.store.dataset_export.shutil.copyfile", full)
    with pytest.raises(DataError, match="No space left on device"):
        export_dataset(stored, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def change_a_row(folder: Path) -> None:
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join([*lines[:2], lines[2].replace("pay me", "pay us"), *lines[3:]]))


def lose_a_row(folder: Path) -> None:
    lines = (folder / "dropped.jsonl").read_text().splitlines(keepends=True)
    (folder / "dropped.jsonl").write_text(lines[0])


@pytest.mark.parametrize(
    ("damage", "name", "fault"),
    [
        (change_a_row, "train.jsonl", r"row 3 \(bank.csv:3\) is not what its id"),
        (lose_a_row, "dropped.jsonl", "holds 0 duplicate, not 1"),
        (lambda folder: (folder / "test.jsonl").unlink(), "test.jsonl", "is missing|No such file"),
        (lambda folder: (folder / "test.jsonl").write_text("{}\n"), "test.jsonl", "has SHA-256|is no Example"),
    ],
)
def test_every_damage_is_named(stored, damage, name, fault):
    damage(stored.path)
    found = [check.fault for check in verify_dataset(load_folder(stored.path)) if check.name == name and check.fault]
    assert any(re.search(fault, each) for each in found), found


def test_an_added_file_is_noticed_in_an_export(stored, tmp_path):
    folder = export_dataset(stored, tmp_path / "out")
    (folder / "extra.txt").write_text("?")
    assert faults(folder) == {"extra.txt": "is not listed"}


def test_datasets_are_found_by_the_beginning_of_their_digest(stored, tmp_path):
    home = tmp_path / "home"
    assert [each.manifest.digest for each in all_datasets(home)] == ["ab" * 32]
    assert find_dataset(home, "abab") == find_dataset(home, "ab" * 32) == stored
    other = stored.path.with_name("abcd" + "0" * 12)
    other.mkdir()
    (other / "manifest.json").write_bytes((stored.path / "manifest.json").read_bytes())
    with pytest.raises(NotFound, match="beginning of 2 datasets"):
        find_dataset(home, "ab")
    with pytest.raises(NotFound, match=r"no dataset 'abac'.*\n.*tunesmith data ls"):
        find_dataset(home, "abac")


def test_dvc_versions_an_export(stored, tmp_path):
    pytest.importorskip("dvc", reason="pip install dvc")
    folder = tmp_path / "repository"
    folder.mkdir()
    quiet = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "HOME": str(tmp_path)}

    def dvc(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words], cwd=folder, env=quiet, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    dvc("init", "--no-scm", "--quiet")
    dvc("config", "cache.type", "copy")
    export_dataset(stored, folder / "bank")
    dvc("add", "bank")
    pointer = (folder / "bank.dvc").read_text()
    assert "nfiles: 10" in pointer
    assert "up to date" in dvc("status")
    change_a_row(folder / "bank")
    assert "modified" in dvc("status")
    dvc("checkout", "--force")
    assert faults(folder / "bank") == {}  # the bytes that DVC gives back are those that were exported
    export_dataset(stored, folder / "bank")
    dvc("add", "bank")
    assert (folder / "bank.dvc").read_text() == pointer  # the same dataset is the same version
