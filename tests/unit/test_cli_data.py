"""tunesmith data: what is stored, what is in it, what changed, and whether every byte is as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.prepare.reported import DROPPED, EXAMPLES, Words, asks, example, manifest, store
from tunesmith.cli.main import app
from tunesmith.prepare.report.write import write_report
from tunesmith.store.datasets import StoredDataset, save_dataset


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredDataset:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    found = store(tmp_path / "home")
    write_report(found, Words(), title="bank", limit=64)
    return found


@pytest.fixture
def changed(tmp_path: Path, stored: StoredDataset) -> StoredDataset:
    """One training row gone, one new, one moved from test to train."""
    new = example(20, asks("a new question", "card"), 5)
    examples = {"train": [*EXAMPLES["train"][:3], new, EXAMPLES["test"][1]], "test": EXAMPLES["test"][::2]}
    before = manifest()
    splits = {name: before.splits[name].model_copy(update={"rows": len(rows)}) for name, rows in examples.items()}
    splits["train"] = splits["train"].model_copy(update={"labels": {"card": 3, "refund": 2}})
    other = before.model_copy(update={"digest": "cd" * 32, "splits": splits, "system_prompt": "Be brief."})
    return save_dataset(tmp_path / "home", other, examples)


def call(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["data", *words])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def test_no_datasets_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    assert "tunesmith prepare RECIPE" in call("ls")
    assert json.loads(call("ls", "--json")) == []


def test_list_and_show(stored):
    assert "ab" * 8 in call("ls")
    (listed,) = json.loads(call("ls", "--json"))
    assert (listed["path"], listed["ledger"]["rows_used"]) == (str(stored.path), 7)
    shown = call("show", "abab")
    assert "9 rows read, 7 used, 2 dropped" in shown
    assert "ann and ben" in shown
    assert "1 to decide" in shown
    assert str(stored.path / "report.html") in shown
    assert json.loads(call("show", "abab", "--json"))["digest"] == "ab" * 32


def test_dropped_rows_come_as_jsonl(stored):
    lines = call("show", "abab", "--dropped", "all").splitlines()
    assert [json.loads(line)["line"] for line in lines] == [row.line for row in DROPPED]
    (line,) = call("show", "abab", "--dropped", "too_long").splitlines()
    assert json.loads(line)["reason"] == "too_long"
    assert "Did you mean 'too_long'?" in call("show", "abab", "--dropped", "to_long", code=1)


def test_differences_row_by_row(stored, changed):
    found = json.loads(call("diff", "abab", "cdcd", "--json"))
    assert found["same_rows"] is False
    assert found["splits"] == {
        "train": {"before": 4, "after": 5, "added": 1, "removed": 1},
        "test": {"before": 3, "after": 2, "added": 0, "removed": 0},
    }
    assert found["moved"] == {"test -> train": 1}
    assert found["labels"] == {"card": [2, 3]}
    assert found["changed"] == {"system prompt": ["", "Be brief."]}
    assert found["added"] == {"bank.csv:20 (train)": "a new question -> card"}
    assert list(found["removed"]) == ["bank.csv:4 (train)"]
    shown = call("diff", "abab", "cdcd")
    assert "moved test -> train: 1" in shown
    assert "+ bank.csv:20 (train): a new question -> card" in shown


def test_a_dataset_does_not_differ_from_itself(stored):
    assert "the same rows in the same splits" in call("diff", "abab", "abab")
    assert json.loads(call("diff", "abab", "abab", "--json"))["same_rows"] is True


def test_export_then_verify(stored, tmp_path):
    folder = tmp_path / "out"
    assert "README.md" in json.loads(call("export", "abab", "--to", str(folder), "--json"))["files"]
    assert "checks hold" in call("verify", str(folder))
    with (folder / "train.jsonl").open("a") as stream:
        stream.write("{}\n")
    shown = call("verify", str(folder), code=1)
    assert "train.jsonl" in shown
    assert "checks failed" in shown
    found = json.loads(call("verify", str(folder), "--json", code=1))
    assert found["matches"] is False


def test_a_dataset_that_is_not_there_is_named(stored):
    shown = call("show", "ffff", code=1)
    assert "There is no dataset 'ffff'" in shown
    assert "tunesmith data ls" in shown
