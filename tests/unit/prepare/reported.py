"""A small stored dataset, written by hand, that has something to say in every part of its report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tunesmith.prepare.step import Judgement, RowsSeen
from tunesmith.store.datasets import DROPPED_FILE, FINDINGS_FILE, StoredDataset, save_dataset
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Message, Rendered
from tunesmith.types.dataset import (
    Check,
    DatasetManifest,
    Drop,
    DroppedRow,
    Example,
    Ledger,
    RenderingProof,
    RowFinding,
    SourceFile,
    SplitStatistics,
)

EVIL = "<script>alert('x')</script> | *bold* [a](http://evil.example)"


def asks(question: str, answer: str, **metadata: str) -> Conversation:
    messages = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Conversation(messages=messages, metadata=metadata)


def example(line: int, content: Conversation, *sizes: int) -> Example:
    return Example(id=content.content_digest()[:16], source="bank.csv", line=line, content=content, sizes=sizes)


EXAMPLES = {
    "train": [
        example(1, asks("my card is lost", "card", license="CC0"), 10),
        example(2, asks("my card is gone", "card", license="CC0"), 12),
        example(3, asks("pay me back", "refund", annotations='{"ann": "refund", "ben": "card"}'), 12),
        example(4, asks(EVIL, "refund", annotations='{"ann": "refund", "ben": "refund"}'), 40),
    ],
    "test": [
        example(5, asks("My  CARD is lost", "card"), 11),
        example(6, asks("my money please", "refund"), 9),
        example(7, asks("pay me back", "refund"), 8),
    ],
}
DROPPED = [
    DroppedRow(reason="too_long", source="bank.csv", line=8, content=asks("word " * 90, "card"), sizes=(99,)),
    DroppedRow(
        reason="duplicate",
        source="bank.csv",
        line=9,
        content=asks(EVIL, "card"),
        sizes=(20,),
        detail="repeats bank.csv:4",
    ),
]
FINDINGS = [
    RowFinding(step="language", kind="language", detail="en", source="bank.csv", line=1, place="train"),
    RowFinding(step="language", kind="language", detail="en", source="bank.csv", line=2, place="train"),
    RowFinding(step="language", kind="language", detail="de", source="bank.csv", line=5, place="test"),
    RowFinding(step="pii", kind="email", detail="a***@b.c", source="bank.csv", line=2, place="train"),
    RowFinding(step="pii", kind="email", detail=EVIL, source="bank.csv", line=2, place="train"),
    RowFinding(step="pii", kind="email", detail="d***@b.c", source="bank.csv", line=8, place="dropped"),
]


def manifest() -> DatasetManifest:
    splits = {
        name: SplitStatistics(
            rows=len(rows),
            tokens=sum(sum(row.sizes) for row in rows),
            trained_tokens=2 * len(rows),
            longest=max(max(row.sizes) for row in rows),
            labels={label: sum(row.conversation.reference == label for row in rows) for label in ("card", "refund")},
        )
        for name, rows in EXAMPLES.items()
    }
    drops = (
        Drop(reason="too_long", rows=1, tokens=99, where=("bank.csv:8",)),
        Drop(reason="duplicate", rows=1, tokens=20, where=("bank.csv:9",)),
    )
    used = sum(split.tokens for split in splits.values())
    return DatasetManifest.model_validate(
        {
            "digest": "ab" * 32,
            "sources": (SourceFile(path="bank.csv", digest="c" * 64, format="columns (csv)", rows=9),),
            "splits": splits,
            "ledger": Ledger(rows_in=9, rows_used=7, tokens_in=used + 119, tokens_used=used, drops=drops),
            "proof": RenderingProof(
                template_digest="t" * 64,
                tokenizer_digest="w" * 64,
                checks=(Check(name="every row has trained tokens", passed=True, checked=7),),
            ),
            "labels": ("card", "refund"),
        }
    )


def store(home: Path) -> StoredDataset:
    stored = save_dataset(home, manifest(), EXAMPLES)  # type: ignore[arg-type]  # split names as plain text
    for name, rows in ((DROPPED_FILE, DROPPED), (FINDINGS_FILE, FINDINGS)):
        (stored.path / name).write_text("".join(f"{row.model_dump_json()}\n" for row in rows), encoding="utf-8")
    return stored


class Words:
    """Every word is a token; the answer's words are learned."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def render(self, conversation: Conversation) -> Rendered:
        tokens = [(word, message.role) for message in conversation.messages for word in str(message.content).split()]
        start = len(self.words)
        self.words += [word for word, _ in tokens]
        weights = tuple(float(role == "assistant") for _, role in tokens)
        return Rendered(token_ids=tuple(range(start, len(self.words))), loss_weights=weights, spans=())

    def piece(self, token_id: int) -> str:
        return self.words[token_id]


class FirstWord(Value):
    """A table step that puts rows together whose question begins with the same word."""

    def open(self, folder: Path):
        return lambda row: str(row.prompt[-1].content).split()[0].lower().encode().ljust(16)[:16]

    def judge(self, measures: np.ndarray, rows: RowsSeen) -> Judgement:
        assert len(measures) == len(rows) == len(rows.splits)
        _, groups = np.unique([bytes(each) for each in measures], return_inverse=True)
        return Judgement(groups=groups)
