"""The rows that a refused preparation dropped are kept, and named in the refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.prepare.conftest import WordRenderer
from tunesmith.errors import DataError
from tunesmith.types.conversation import Conversation, Message, Rendered

LINES = ["prompt,completion", "a,x", "a,x", "a,y", "<bad>,x", "b " * 9 + ",x", "c,x"]
FIELDS: dict[str, Any] = {"max_tokens": 8, "max_drop_rate": 0.4}
DROPPED = [
    ("duplicate", "a.csv", 3, "a", "x"),
    ("conflicting_answer", "a.csv", 4, "a", "y"),
    ("unrenderable", "a.csv", 5, "<bad>", "x"),
    ("too_long", "a.csv", 6, "b b b b b b b b b ", "x"),
]


class Forgiving(WordRenderer):
    """The same renderer, mended: <bad> is a word like others."""

    def render(self, conversation: Conversation) -> Rendered:
        mended = [Message(role=each.role, content=(each.content or "").strip("<>")) for each in conversation.messages]
        return super().render(Conversation(messages=tuple(mended)))


def refuse(run: Any, lines: list[str], **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        run({"a.csv": "\n".join(lines)}, **fields)
    return caught.value.hint or ""


def kept(home: Path) -> list[tuple[Any, ...]]:
    """What the only refusal in `home` kept: reason, file, line and both messages of each row."""
    (folder,) = (home / "refused").iterdir()
    assert len(folder.name) == 16
    assert [each.name for each in folder.iterdir()] == ["dropped.jsonl"]
    rows = [json.loads(line) for line in (folder / "dropped.jsonl").read_text().splitlines()]
    return [
        (row["reason"], row["source"], row["line"], *(each["content"] for each in row["content"]["messages"]))
        for row in rows
    ]


def test_too_many_drops_keep_every_dropped_row(run: Any, tmp_path: Path) -> None:
    hint = refuse(run, LINES, **FIELDS)
    assert kept(tmp_path / "home") == DROPPED
    (file,) = (tmp_path / "home" / "refused").glob("*/dropped.jsonl")
    assert hint.endswith(f"\nAll dropped rows with their reasons: {file}")
    assert not list((tmp_path / "home").glob("datasets/*"))


def test_an_empty_split_keeps_the_dropped_rows(run: Any, tmp_path: Path) -> None:
    hint = refuse(run, ["prompt,completion", "a,b", "A,b"], split={"validation": 0.1, "test": 0})
    assert kept(tmp_path / "home") == [("duplicate", "a.csv", 3, "A", "b")]
    assert "All dropped rows" in hint


def test_nothing_is_kept_when_nothing_was_dropped(run: Any, tmp_path: Path) -> None:
    hint = refuse(run, ["prompt,completion", "a,b"], split={"validation": 0.1, "test": 0})
    assert "dropped rows" not in hint
    assert not (tmp_path / "home").exists()


def test_the_next_refusal_replaces_it_and_success_removes_it(run: Any, tmp_path: Path) -> None:
    refuse(run, LINES, **FIELDS)
    (file,) = (tmp_path / "home" / "refused").glob("*/dropped.jsonl")
    file.write_text("an older refusal\n" * 100)
    refuse(run, LINES, **FIELDS)
    assert kept(tmp_path / "home") == DROPPED
    stored = run({"a.csv": "\n".join(LINES)}, by=Forgiving(), **FIELDS)
    assert stored.path.name == file.parent.name
    assert not list((tmp_path / "home" / "refused").iterdir())


def test_a_refusal_is_told_even_when_its_rows_cannot_be_kept(run: Any, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "refused").write_text("a file in the way")
    hint = refuse(run, LINES, **FIELDS)
    assert "could not be kept in" in hint
    assert "rows in          6" in hint
