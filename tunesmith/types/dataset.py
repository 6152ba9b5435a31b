"""A prepared dataset: examples, the ledger that accounts for every row, the proof of rendering, the manifest."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation, Shape
from tunesmith.types.preference import Labelled, Row

__all__ = [
    "SPLITS",
    "UNDIVIDED",
    "Account",
    "Check",
    "DatasetManifest",
    "Drop",
    "DroppedRow",
    "Example",
    "Ledger",
    "Place",
    "RenderingProof",
    "RowFinding",
    "SourceFile",
    "SplitName",
    "SplitStatistics",
]

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

Place = Literal["train", "validation", "test", "undivided"]
"""Where a row stands in the ledger: in a split, or dropped before it had one."""

UNDIVIDED: Literal["undivided"] = "undivided"


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


class Account(Value):
    """rows_in = rows_used + rows of all drops, and the same in tokens; it cannot be built unbalanced."""

    rows_in: int
    rows_used: int
    tokens_in: int
    tokens_used: int
    drops: tuple[Drop, ...] = ()

    @model_validator(mode="after")
    def _balances(self) -> Account:
        rows = self.rows_used + sum(drop.rows for drop in self.drops)
        tokens = self.tokens_used + sum(drop.tokens for drop in self.drops)
        if rows != self.rows_in or tokens != self.tokens_in:
            raise ValueError(
                f"ledger does not balance: rows {self.rows_in} in, {rows} accounted for; "
                f"tokens {self.tokens_in} in, {tokens} accounted for"
            )
        return self


class Ledger(Account):
    """The account of all rows, and of the rows of each source and of each split.

    `undivided` are rows that were dropped before they had a split. Rows that training sees more than once (rare classes
    that are oversampled) count once in `rows_used`; their repetitions are `rows_repeated`.
    """

    sources: dict[str, Account] = {}
    splits: dict[Place, Account] = {}
    rows_repeated: int = 0
    tokens_repeated: int = 0

    @model_validator(mode="after")
    def _parts_add_up(self) -> Ledger:
        for name, parts in (("sources", self.sources), ("splits", self.splits)):
            for field in ("rows_in", "rows_used", "tokens_in", "tokens_used"):
                total = sum(getattr(part, field) for part in parts.values())
                if parts and total != getattr(self, field):
                    whole = getattr(self, field)
                    raise ValueError(f"ledger does not balance: {field} of all {name} is {total}, not {whole}")
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

    `split_digests` are the SHA-256 of the splits' files, by which a damaged dataset is noticed, and `file_digests`
    those of the other files (`dropped.jsonl`, `findings.jsonl`). `shape` is the kind of all its rows. `findings`
    counts what each step found, by kind. `ordered` training rows are seen in their stored order in every epoch.
    `parents` are the digests of the datasets of which a source file is a split.
    """

    digest: str
    shape: Shape = "conversation"
    sources: tuple[SourceFile, ...]
    parents: tuple[str, ...] = ()
    splits: dict[SplitName, SplitStatistics]
    ledger: Ledger
    proof: RenderingProof
    system_prompt: str | None = None
    labels: tuple[str, ...] = ()
    findings: dict[str, dict[str, int]] = {}
    ordered: bool = False
    split_digests: dict[SplitName, str] = {}
    file_digests: dict[str, str] = {}
