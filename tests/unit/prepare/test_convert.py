"""Rows written in other formats say the same when they are read again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import DataError
from tunesmith.prepare.convert import convert
from tunesmith.prepare.sources import find_sources, open_sources
from tunesmith.prepare.writers import Target
from tunesmith.types.preference import Row
from tunesmith.types.recipe import SourceSpec

TOOLS = [{"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}]
CALL = {"id": "c", "type": "function", "function": {"name": "price", "arguments": '{"of": "tea"}'}}
EXCHANGE = {"prompt": "Where is it?", "completion": "On its way\u2028é", "system": "Be kind", "lang": "en"}
TOOL_CHAT: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "Tea?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0},
        {"role": "tool", "content": "3", "tool_call_id": "c"},
        {"role": "assistant", "content": "Three"},
    ],
    "tools": TOOLS,
    "note": "kept",
}
LONG = {"instruction": "and b", "output": "d", "history": [["a", "x"]], "system": "s"}
PAIR = {"prompt": "q", "chosen": "good", "rejected": "bad", "margin": 2.5, "who": "me"}


def contents(path: Path) -> list[Row]:
    (source,) = open_sources(find_sources((SourceSpec(path=str(path)),), Path()))
    return [source.form.parse(row.fields) for row in source.rows]


@pytest.mark.parametrize(
    ("rows", "target"),
    [
        ([EXCHANGE], "chat"),
        ([EXCHANGE], "alpaca"),
        ([EXCHANGE], "completion"),
        ([TOOL_CHAT], "chat"),
        ([LONG, LONG], "chat"),
        ([LONG], "alpaca"),
        ([PAIR], "preference"),
        ([{"prompt": [{"role": "user", "content": "q"}], "target": 4}], "chat"),
    ],
)
def test_what_is_written_reads_back_as_the_same(rows: list[dict[str, Any]], target: Target, tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl.gz", tmp_path / "out.jsonl"
    source.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    done = convert(SourceSpec(path=str(source)), target, out)
    assert done.rows == len(rows) == len(out.read_text(encoding="utf-8").split("\n")) - 1
    if "target" not in rows[0]:
        assert contents(out) == contents(source)
    else:  # a prompt written as messages without an answer is read by `format: prompts`
        assert json.loads(out.read_text()) == {"target": 4, "messages": [{"role": "user", "content": "q"}]}


@pytest.mark.parametrize(
    ("rows", "target", "message"),
    [
        ([TOOL_CHAT], "alpaca", "alpaca rows have no tools"),
        ([LONG], "completion", "several turns do not fit"),
        ([EXCHANGE], "preference", "a conversation row has no rejected answer"),
        ([PAIR], "chat", "a preference row is no conversation"),
        ([EXCHANGE, {"prompt": "q", "completion": 5}], "chat", r"rows.jsonl:2: completion: must be a text"),
    ],
)
def test_what_cannot_be_said_is_refused_and_nothing_is_written(
    rows: list[dict[str, Any]], target: Target, message: str, tmp_path: Path
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=message):
        convert(SourceSpec(path=str(source)), target, tmp_path / "out.jsonl")
    assert [each.name for each in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(EXCHANGE))
    with pytest.raises(DataError, match="cannot be written: No such file"):
        convert(SourceSpec(path=str(tmp_path / "a.jsonl")), "chat", tmp_path / "nowhere" / "out.jsonl")
