"""Carries all rows through the recipe's steps and to their tokens, some hundred rows at a time.

The steps are cut into passes: row steps in a row and the measure of the table step behind them are one pass over the
rows; the table step then judges on all measures. The last pass renders every row, dropped ones too, for the ledger
counts their tokens. Each pass writes the rows anew to disk; memory holds their records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.problems import Problems
from tunesmith.prepare.record import PLACES, RECORD, SHAPES, Records
from tunesmith.prepare.rowfile import RowFile
from tunesmith.prepare.rows import RowNote, Rows, Seen
from tunesmith.prepare.sources import OpenSource
from tunesmith.prepare.step import RowStep, TableStep
from tunesmith.prepare.work import Chunk, Origin, Work, Worked
from tunesmith.prepare.workers import CHUNK_ROWS, Workers
from tunesmith.progress import Progress

__all__ = ["Carrier", "Pass", "finish", "planned", "read"]

_MEASURES = "measures.bin"


class Pass(NamedTuple):
    """Row steps with their names, and the table step that judges after them."""

    steps: tuple[tuple[str, RowStep], ...] = ()
    judge: tuple[str, TableStep] | None = None


class Carrier(NamedTuple):
    """Who does the work, where the rows lie meanwhile, and who is told."""

    workers: Workers
    folder: Path
    progress: Progress


def planned(steps: Sequence[tuple[str, RowStep | TableStep]]) -> tuple[Pass, ...]:
    """The passes that `steps` need, at least one; only the last one may end without a table step."""
    passes, row_steps = list[Pass](), list[tuple[str, RowStep]]()
    for name, step in steps:
        if isinstance(step, TableStep):
            passes.append(Pass(tuple(row_steps), (name, step)))
            row_steps = []
        else:
            row_steps.append((name, step))
    return (*passes, Pass(tuple(row_steps))) if row_steps or not passes else tuple(passes)


def read(rows: Rows, sources: Sequence[OpenSource], passes: Sequence[Pass], how: tuple[Work, Carrier]) -> None:
    """All rows of all sources, through all passes, into `rows`; the work's `finish` is done in the last one.

    Raises:
        DataError: the problems of all files together; rows of different kinds.
    """
    work, carrier = how
    problems = Problems()
    for number, each in enumerate(passes):
        chunks = _raw_chunks(sources, rows, problems) if number == 0 else _stored_chunks(rows.lines, rows.records)
        last = work.finish if number == len(passes) - 1 else None
        own = replace(work, steps=each.steps, measure=each.judge[1] if each.judge else None, finish=last)
        results = carrier.workers.results(own, chunks, carrier.folder)
        _carry(rows, results, ("measuring" if number else "reading", problems), carrier)
        problems.raise_if_any()
        if each.judge:
            carrier.progress.say(f"{each.judge[0]}: judging {int(rows.kept.sum()):,} rows")
            _judge(rows, each.judge, carrier.folder)


def finish(rows: Rows, work: Work, carrier: Carrier) -> None:
    """Render every row. Raises DataError when a row is refused for its length."""
    problems = Problems()
    results = carrier.workers.results(work, _stored_chunks(rows.lines, rows.records), carrier.folder)
    _carry(rows, results, ("rendering", problems), carrier)
    problems.raise_if_any()


def _raw_chunks(sources: Sequence[OpenSource], rows: Rows, problems: Problems) -> Iterator[Chunk]:
    for index, source in enumerate(sources):
        origin = Origin(index, source.file, PLACES.index(source.spec.split), source.form)
        with problems.collecting(source.file):
            raw = iter(source.rows)
            while chunk := tuple(islice(raw, CHUNK_ROWS)):
                rows.read[index] += len(chunk)
                yield Chunk(origin, chunk)


def _stored_chunks(lines: RowFile, records: Records) -> Iterator[Chunk]:
    for start in range(0, len(lines), CHUNK_ROWS):
        end = min(start + CHUNK_ROWS, len(lines))
        yield Chunk(lines=tuple(lines.lines(range(start, end))), records=records[start:end])


def _carry(rows: Rows, results: Iterable[Worked], told: tuple[str, Problems], carrier: Carrier) -> None:
    """Put what became of all chunks into `rows`."""
    title, problems = told
    parts, count = list[Records](), 0
    before, rows.lines = rows.lines, rows.next_lines()
    try:
        with carrier.progress.task(title, total=len(rows)) as task, (carrier.folder / _MEASURES).open("wb") as measures:
            for done in results:
                problems.merge(done.problems, done.problem_count)
                if problems.count or not done.lines:
                    continue
                _take(rows, done, count)
                parts.append(done.records)
                _refuse_a_mixture(rows, parts)
                rows.lines.extend(done.lines)
                measures.writelines(done.measures)
                count += len(done.lines)
                task.advance(len(done.lines))
    finally:
        before.remove()
    rows.records = np.concatenate(parts) if parts else np.zeros(0, RECORD)


def _take(rows: Rows, done: Worked, first: int) -> None:
    """Note what was found, and why rows were dropped; the chunk's first row has the index `first`."""
    for index, (reason, detail) in done.reasons.items():
        done.records["reason"][index] = rows.code(reason)
        if detail:
            rows.details[first + index] = detail
    rows.note(RowNote(first + found.row, found.step, found.finding) for found in done.found)


def _refuse_a_mixture(rows: Rows, parts: Sequence[Records]) -> None:
    """An objective trains on one kind of rows."""
    first = parts[0][0]
    other = np.flatnonzero(parts[-1]["shape"] != first["shape"])
    if len(other):
        record = parts[-1][other[0]]
        here, there = (SHAPES[int(each["shape"])] for each in (record, first))
        message = f"holds {here} rows, while {rows.files[first['source']]} holds {there} rows"
        fix = "keep one kind of rows in prepare.sources; train the other kind with a recipe of its own"
        raise DataError([Problem(message, file=rows.files[record["source"]], line=int(record["line"]), fix=fix)])


def _judge(rows: Rows, judge: tuple[str, TableStep], folder: Path) -> None:
    """Let a table step judge the rows that are kept, on the measures the last pass wrote."""
    name, step = judge
    indices = np.flatnonzero(rows.kept)
    if not len(indices):
        return
    path = folder / _MEASURES
    width = path.stat().st_size // len(indices)
    shape = (len(indices), width)
    measures = np.memmap(path, np.uint8, "r", shape=shape) if width else np.zeros(shape, np.uint8)
    judgement = step.judge(measures, Seen(rows, indices))
    for index, reason in judgement.reasons.items():
        rows.records["reason"][indices[index]] = rows.code(reason)
    for index, findings in judgement.findings.items():
        rows.note(RowNote(int(indices[index]), name, finding) for finding in findings)
    if judgement.groups is not None:
        groups = np.full(len(rows), -1, np.int64)
        groups[indices] = np.unique(judgement.groups, return_inverse=True)[1]
        rows.groups.append(groups)
