"""Rows are read one at a time, and a damaged one is named by file, line and field."""

from __future__ import annotations

import pytest

from tunesmith.errors import DataError
from tunesmith.store.json_lines import read_lines
from tunesmith.types.dataset import RowFinding

FOUND = RowFinding(step="pii", kind="email", detail="a***@example.com", source="mail.csv", line=7, place="dropped")


def test_values_come_back_in_order(tmp_path):
    path = tmp_path / "findings.jsonl"
    found = [FOUND, FOUND.model_copy(update={"line": 9, "place": "train"})]
    path.write_text("".join(f"{each.model_dump_json()}\n" for each in found))
    assert list(read_lines(path, RowFinding)) == found


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "findings.jsonl"
    path.write_text(FOUND.model_dump_json() + "\n" + FOUND.model_dump_json().replace("dropped", "nowhere") + "\n")
    rows = read_lines(path, RowFinding)
    assert next(rows) == FOUND
    with pytest.raises(DataError) as caught:
        next(rows)
    problem = caught.value.problems[0]
    assert (problem.file, problem.line, problem.field) == (str(path), 2, "place")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        list(read_lines(tmp_path / "absent.jsonl", RowFinding))
