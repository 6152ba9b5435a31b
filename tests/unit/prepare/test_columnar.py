"""Parquet and Arrow files, found by their first bytes."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from tunesmith.errors import DataError
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.reader import read_table
from tunesmith.prepare.table import Table
from tunesmith.types.recipe import SourceSpec

ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 1}], "n": 1.5},
    {"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}], "n": float("nan")},
]


def write(kind: str, path: Path, table: pyarrow.Table) -> None:
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path)
        return
    opened = pyarrow.ipc.new_file if kind == "arrow file" else pyarrow.ipc.new_stream
    with opened(str(path), table.schema) as out:
        out.write_table(table)


def read(path: Path) -> Table:
    return read_table(Input(path.name, path, SourceSpec(path=path.name)))


@pytest.mark.parametrize("kind", ["parquet", "arrow file", "arrow stream"])
def test_rows_are_read_as_json_would_hold_them(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "misnamed.jsonl"
    write(kind, path, pyarrow.Table.from_pylist(ROWS))
    table = read(path)
    assert table.container == kind.split()[0]
    for _ in range(2):
        found = list(table.rows)
        assert [row.line for row in found] == [1, 2]
        assert [row.fields["n"] for row in found] == [1.5, None]
        assert found[0].fields["messages"][1] == {"role": "assistant", "content": "b", "weight": 1}


def test_chat_from_parquet_goes_through(run: Any, tmp_path: Path) -> None:
    write("parquet", tmp_path / "rows.parquet", pyarrow.Table.from_pylist(ROWS))
    with pytest.raises(DataError, match="unit: applies to plain text only"):
        run({}, sources=[{"path": "rows.parquet", "unit": "line"}])
    dataset = run({}, sources=[{"path": "rows.parquet"}])
    assert dataset.manifest.sources[0].format == "chat (parquet)"
    assert [row.conversation.reference for row in dataset.examples("train")] == ["b", "d"]


def test_many_batches(tmp_path: Path) -> None:
    write("parquet", tmp_path / "a", pyarrow.table({"text": [f"{n}" for n in range(10_000)]}))
    assert [row.fields["text"] for row in read(tmp_path / "a").rows] == [f"{n}" for n in range(10_000)]


def test_dates_become_texts_and_bytes_are_refused(tmp_path: Path) -> None:
    write("parquet", tmp_path / "a", pyarrow.table({"day": [datetime.date(2024, 1, 2)], "m": [{"x": [1]}]}))
    assert [row.fields for row in read(tmp_path / "a").rows] == [{"day": "2024-01-02", "m": {"x": [1]}}]
    write("parquet", tmp_path / "b", pyarrow.table({"image": [b"\x89PNG"]}))
    with pytest.raises(DataError, match="image: holds bytes, not text"):
        list(read(tmp_path / "b").rows)


@pytest.mark.parametrize("kind", ["parquet", "arrow file", "arrow stream"])
def test_a_file_that_is_cut_off(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(kind, path, pyarrow.table({"text": ["some text"] * 1000}))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="file is damaged"):
        list(read(path).rows)
