"""Stored datasets: written whole or not at all, found by digest, checked when read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import DataError, NotFound
from tunesmith.store.datasets import DROPPED_FILE, StoredDataset, load_dataset, save_dataset
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.dataset import DatasetManifest, DroppedRow, Example, Ledger, RenderingProof, SplitStatistics

DIGEST = "ab" * 32


def example(text: str, line: int) -> Example:
    messages = (Message(role="user", content=text), Message(role="assistant", content="yes"))
    return Example(id=f"{line:016d}", source="a.csv", line=line, content=Conversation(messages=messages))


EXAMPLES = {"train": [example("a\u2028b", 1), example("ü", 2)], "test": [example("c", 3)]}


def manifest(digest: str = DIGEST) -> DatasetManifest:
    return DatasetManifest.model_validate(
        {
            "digest": digest,
            "sources": (),
            "splits": {
                name: SplitStatistics(rows=len(rows), tokens=1, trained_tokens=1, longest=1)
                for name, rows in EXAMPLES.items()
            },
            "ledger": Ledger(rows_in=3, rows_used=3, tokens_in=3, tokens_used=3),
            "proof": RenderingProof(template_digest="t", tokenizer_digest="w", checks=()),
        }
    )


@pytest.fixture
def stored(tmp_path: Path) -> StoredDataset:
    return save_dataset(tmp_path, manifest(), EXAMPLES)  # type: ignore[arg-type]  # split names as plain text


def test_what_is_loaded_is_what_was_saved(stored: StoredDataset, tmp_path: Path) -> None:
    for digest in (DIGEST, DIGEST[:16]):
        loaded = load_dataset(tmp_path, digest)
        assert loaded == stored
        assert loaded.examples("train") == tuple(EXAMPLES["train"])
        assert loaded.examples("test") == tuple(EXAMPLES["test"])
    assert sorted(each.name for each in (tmp_path / "datasets").iterdir()) == [DIGEST[:16]]


def test_saving_again_keeps_the_stored_one(stored: StoredDataset, tmp_path: Path) -> None:
    assert save_dataset(tmp_path, manifest(), EXAMPLES) == stored  # type: ignore[arg-type]
    assert [each.name for each in (tmp_path / "datasets").iterdir()] == [DIGEST[:16]]


def test_a_missing_split_is_named(stored: StoredDataset) -> None:
    with pytest.raises(NotFound, match=r"no validation split\.\nIt has: train, test"):
        stored.examples("validation")


def test_an_unknown_digest_names_the_nearest(stored: StoredDataset, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f"Did you mean {DIGEST[:16]}"):
        load_dataset(tmp_path, "abababababababaa")
    with pytest.raises(NotFound, match="Stored: none"):
        load_dataset(tmp_path / "empty", DIGEST)
    with pytest.raises(DataError, match="belongs to the dataset"):
        load_dataset(tmp_path, DIGEST[:16] + "0" * 48)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train.jsonl", None, "is missing"),
        ("train.jsonl", b"", "0 rows instead of 2"),
        ("test.jsonl", b"{}\n", "a changed row"),
        ("manifest.json", None, "is missing"),
        ("manifest.json", b'{"digest": "a', "cannot be read"),
    ],
)
def test_damage_is_noticed(
    file: str, content: bytes | None, message: str, stored: StoredDataset, tmp_path: Path
) -> None:
    if content is None:
        (stored.path / file).unlink()
    else:
        (stored.path / file).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(tmp_path, DIGEST)
    assert "run tunesmith prepare again" in str(caught.value)


def test_damage_after_loading_is_noticed_too(stored: StoredDataset) -> None:
    file = stored.path / "train.jsonl"
    file.write_bytes(file.read_bytes().replace(b"yes", b"no!"))
    with pytest.raises(DataError, match="a changed row"):
        stored.examples("train")


def test_rows_come_one_at_a_time_and_absent_lists_are_empty(stored: StoredDataset) -> None:
    assert next(stored.rows("train")) == EXAMPLES["train"][0]
    assert (list(stored.dropped()), list(stored.findings())) == ([], [])
    left_out = DroppedRow(reason="too_long", source="a.csv", line=4, content=EXAMPLES["test"][0].content, sizes=(9,))
    (stored.path / DROPPED_FILE).write_text(left_out.model_dump_json() + "\n", encoding="utf-8")
    assert list(stored.dropped()) == [left_out]
