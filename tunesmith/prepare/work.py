"""What is done to each row on its own: parse it, take it through row steps, measure it, render it.

`Work` says what, and travels to other processes; `Worker` is that work with its word lists and models open. A chunk of
rows goes in, lines for the row file and records for memory come out, so that any number of processes gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tunesmith.errors import Problem, RenderingError
from tunesmith.prepare.format import Format
from tunesmith.prepare.labels import with_system
from tunesmith.prepare.length import LengthPolicy, fitted
from tunesmith.prepare.problems import Problems
from tunesmith.prepare.record import RECORD, SHAPES, Keys, Records, early_record_of, record_of
from tunesmith.prepare.step import Finding, RowStep, TableStep
from tunesmith.prepare.table import Row as RawRow
from tunesmith.types.conversation import Conversation, Rendered
from tunesmith.types.dataset import Example
from tunesmith.types.preference import Row

__all__ = ["Chunk", "Finish", "Found", "Origin", "Rendering", "Work", "Worked", "Worker"]


class Rendering(Protocol):
    """Gives the tokens of a conversation."""

    def render(self, conversation: Conversation) -> Rendered:
        """Token ids and loss weights of one conversation. Raises RenderingError."""


class Origin(NamedTuple):
    """Where raw rows come from: the file's number and name, the code of its split, how its rows are read."""

    number: int
    file: str
    split: int
    form: Format


class Chunk(NamedTuple):
    """Rows to work on: raw ones of one `origin`, or lines of the row file with their records."""

    origin: Origin | None = None
    raw: tuple[RawRow, ...] = ()
    lines: tuple[bytes, ...] = ()
    records: Records = np.zeros(0, RECORD)


class Found(NamedTuple):
    """What `step` found in the row at `row` of its chunk."""

    row: int
    step: str
    finding: Finding


class Finish(NamedTuple):
    """The last thing done to a row: the system prompt put in front, its tokens counted, its length seen to."""

    renderer: Rendering
    system: str | None
    max_tokens: int
    too_long: LengthPolicy


@dataclass(frozen=True)
class Work:
    """Row steps (with their names), then the measure of a table step, then the finish; each may be absent."""

    keys: Keys
    folder: Path
    steps: tuple[tuple[str, RowStep], ...] = ()
    measure: TableStep | None = None
    finish: Finish | None = None


@dataclass
class Worked:
    """What became of a chunk: a line and a record for each row; why rows were dropped, with a detail; what was found;
    the measures of the rows that are kept, one after the other; what is wrong with rows that cannot be read.
    """

    lines: list[bytes] = field(default_factory=list)
    records: Records = field(default_factory=lambda: np.zeros(0, RECORD))
    reasons: dict[int, tuple[str, str]] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    measures: list[bytes] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0


class Worker:
    """The work, ready to be done. Making it raises what opening a step raises."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._steps = [(name, step.open(work.folder)) for name, step in work.steps]
        self._measure: Callable[[Row], bytes] | None = work.measure.open(work.folder) if work.measure else None

    def __call__(self, chunk: Chunk) -> Worked:
        """Every row of `chunk`."""
        done, problems = Worked(), Problems()
        records: list[tuple[int | float, ...]] = []
        if chunk.origin is not None:
            for raw in chunk.raw:
                with problems.collecting(chunk.origin.file, raw.line, raw.within):
                    content = chunk.origin.form.parse(raw.fields)
                    example = Example(id="", source=chunk.origin.file, line=raw.line, content=content)
                    head = (chunk.origin.number, raw.line, SHAPES.index(content.shape), chunk.origin.split, 0, -1)
                    records.append(self._row(example, head, done))
        for line, record in zip(chunk.lines, chunk.records, strict=True):
            example = Example.model_validate_json(line)
            with problems.collecting(example.source, example.line):
                head = tuple(record[name].item() for name in RECORD.names[:6])  # type: ignore[index]  # it has names
                records.append(self._row(example, head, done))
        done.records = np.array(records, dtype=RECORD)
        done.problems, done.problem_count = list(problems.shown), problems.count
        return done

    def _row(self, example: Example, head: tuple[int | float, ...], done: Worked) -> tuple[int | float, ...]:
        """Work on one row; `head` are the first fields of its record. Raises DataError."""
        index, content = len(done.lines), example.content
        dropped = bool(head[4])
        if not dropped:
            content, reason = self._stepped(content, index, done)
            dropped = bool(reason)
        if self._measure is not None and not dropped:
            done.measures.append(self._measure(content))
        rendered: list[Rendered] = []
        if self._work.finish is not None:
            content, rendered, reason, detail = _finished(content, self._work.finish)
            if reason and not dropped:
                done.reasons[index] = (reason, detail)
            elif detail and not dropped:
                done.found.append(Found(index, "length", Finding("truncated", detail)))
        identity = content.content_digest()[:16]
        sizes = tuple(len(each.token_ids) for each in rendered)
        changed = example.model_copy(update={"id": identity, "content": content, "sizes": sizes})
        figures = record_of(content, rendered, self._work.keys) if self._work.finish else early_record_of(content)
        done.lines.append(changed.model_dump_json().encode() + b"\n")
        return (*head, *figures)

    def _stepped(self, content: Row, index: int, done: Worked) -> tuple[Row, str]:
        for name, decide in self._steps:
            outcome = decide(content)
            done.found += [Found(index, name, finding) for finding in outcome.findings]
            if outcome.content is None:
                done.reasons[index] = (outcome.reason, "")
                return content, outcome.reason
            content = outcome.content
        return content, ""


def _finished(content: Row, finish: Finish) -> tuple[Row, list[Rendered], str, str]:
    """The row as it will be trained, its sequences, why it cannot be used ('' when it can), and a detail."""
    content = with_system(content, finish.system)
    try:
        rendered = [finish.renderer.render(conversation) for conversation in content.conversations]
    except RenderingError as error:
        return content, [], "unrenderable", str(error)
    if max(len(each.token_ids) for each in rendered) <= finish.max_tokens:
        return content, rendered, "", ""
    return fitted(content, rendered, finish.renderer.render, (finish.max_tokens, finish.too_long))
