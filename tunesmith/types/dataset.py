"""A prepared dataset: examples, the ledger that accounts for every row, the proof of rendering, the manifest."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Shape
from tunesmith.types.preference import Labelled, Row

__all__ = [
    "SPLITS",
    "Check",
    "DatasetManifest",
    "Drop",
    "DroppedRow",
    "Example",
    "Ledger",
    "RenderingProof",
    "RowFinding",
    "SourceFile",
    "SplitName",
    "SplitStatistics",
]

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class Example(Value):
    """One usable row. `id` is the first 16 hex digits of the content's digest; `line` counts from 1; `sizes` are the
    tokens of each of its sequences (one of a conversation, two of a preference).
    """

    id: str
    source: str
    line: int
    content: Row
    sizes: tuple[int, ...] = ()

    @property
    def conversation(self) -> Conversation:
        """The row as a conversation with the wanted answer (for a judged answer: with that one, wanted or not)."""
        return self.content.conversations[0]

    @property
    def wanted(self) -> bool:
        """Whether the conversation's answer is one to expect; False for a judged answer that is unwanted."""
        return not isinstance(self.content, Labelled) or self.content.label


class DroppedRow(Value):
    """One row that was left out, one line of `dropped.jsonl`: why, where it stood, what it said.

    `detail` says more where the reason alone does not (what the template refused, which row it repeats); `sizes` are
    the tokens of each of its sequences, none when it cannot be rendered.
    """

    reason: str
    source: str
    line: int
    content: Row
    detail: str = ""
    sizes: tuple[int, ...] = ()


class RowFinding(Value):
    """One thing that a step found in a row, one line of `findings.jsonl`; `place` is the row's split, or `dropped`."""

    step: str
    kind: str
    detail: str = ""
    source: str
    line: int
    place: Literal["train", "validation", "test", "dropped"]


class Drop(Value):
    """Rows left out for one named reason; `where` holds the first few places as file:line."""

    reason: str
    rows: int
    tokens: int
    where: tuple[str, ...] = ()


class Ledger(Value):
    """rows_in = rows_used + rows of all drops, and the same in tokens; it cannot be built unbalanced."""

    rows_in: int
    rows_used: int
    tokens_in: int
    tokens_used: int
    drops: tuple[Drop, ...] = ()

    @model_validator(mode="after")
    def _balances(self) -> Ledger:
        rows = self.rows_used + sum(drop.rows for drop in self.drops)
        tokens = self.tokens_used + sum(drop.tokens for drop in self.drops)
        if rows != self.rows_in or tokens != self.tokens_in:
            raise ValueError(
                f"ledger does not balance: rows {self.rows_in} in, {rows} accounted for; "
                f"tokens {self.tokens_in} in, {tokens} accounted for"
            )
        return self


class Check(Value):
    """One self-check: what was checked, over how many things, whether it held, and the figure or first failure."""

    name: str
    passed: bool
    checked: int
    detail: str = ""


class RenderingProof(Value):
    """Evidence that what is trained is what will be served; stored with the dataset and the run.

    Checks: ids equal the tokenizer's own chat template; prompt ids are a prefix of training ids; every trained
    turn contains its end-of-turn token in the loss; every row has trained tokens.
    """

    template_digest: str
    tokenizer_digest: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True when every check held."""
        return all(check.passed for check in self.checks)


class SourceFile(Value):
    """One input file: where it was, what it held, how it was read."""

    path: str
    digest: str
    format: str
    rows: int


class SplitStatistics(Value):
    """Sizes of one split; `labels` counts distinct answers when there are at most 200 of them, else it is empty.

    For judged answers it counts the wanted and the unwanted ones.
    """

    rows: int
    tokens: int
    trained_tokens: int
    longest: int
    labels: dict[str, int] = {}


class DatasetManifest(Value):
    """Everything known about a prepared dataset. `digest` addresses it under home/datasets.

    `split_digests` are the SHA-256 of the splits' files, by which a damaged dataset is noticed. `shape` is the kind of
    all its rows.
    """

    digest: str
    shape: Shape = "conversation"
    sources: tuple[SourceFile, ...]
    splits: dict[SplitName, SplitStatistics]
    ledger: Ledger
    proof: RenderingProof
    system_prompt: str | None = None
    labels: tuple[str, ...] = ()
    split_digests: dict[SplitName, str] = {}
