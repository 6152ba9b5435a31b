"""What is stored of a preparation: the manifest, and the lines of each file of the dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.classes import Classes, find_classes, find_judgements
from tunesmith.prepare.record import PLACES, SHAPES
from tunesmith.prepare.rows import Rows
from tunesmith.prepare.sources import OpenSource
from tunesmith.store.datasets import DROPPED_FILE, FINDINGS_FILE
from tunesmith.types.dataset import (
    SPLITS,
    DatasetManifest,
    DroppedRow,
    Ledger,
    RenderingProof,
    RowFinding,
    SourceFile,
    SplitName,
    SplitStatistics,
)

__all__ = ["dropped_lines", "manifest_of", "stored_files"]

Indices = npt.NDArray[np.int64]


def manifest_of(
    digest: str,
    sources: Sequence[OpenSource],
    rows: Rows,
    training: Indices,
    outcome: tuple[Ledger, RenderingProof, bool],
    parents: tuple[str, ...],
) -> DatasetManifest:
    """Everything known about the dataset; `outcome` is its ledger, its proof, and whether training rows are ordered;
    `parents` are the digests of the datasets it is made of.
    """
    ledger, proof, ordered = outcome
    used = np.flatnonzero(rows.kept)
    classes = find_classes(rows, used)
    counted = classes if classes.names else find_judgements(rows, used)
    whole = np.full(len(rows), -1, np.int64)
    if counted.names:
        whole[used] = counted.codes
    stored = _stored(rows, training)
    return DatasetManifest(
        digest=digest,
        shape=SHAPES[int(rows.records["shape"][used[0]])],
        sources=tuple(
            SourceFile(path=source.file, digest=source.digest, format=source.format, rows=rows.read[place])
            for place, source in enumerate(sources)
        ),
        parents=parents,
        splits={name: _statistics(rows, indices, Classes(counted.names, whole)) for name, indices in stored.items()},
        ledger=ledger,
        proof=proof,
        system_prompt=_shared_system(rows, used),
        labels=classes.names,
        findings=_counted_findings(rows),
        ordered=ordered,
    )


def stored_files(rows: Rows, training: Indices) -> Mapping[str, Iterator[bytes]]:
    """The lines of each file of the dataset, read from disk as they are written."""
    splits = {f"{name}.jsonl": rows.lines.lines(each.tolist()) for name, each in _stored(rows, training).items()}
    return {**splits, DROPPED_FILE: dropped_lines(rows), FINDINGS_FILE: _finding_lines(rows)}


def _stored(rows: Rows, training: Indices) -> dict[SplitName, Indices]:
    kept = {name: np.flatnonzero(rows.kept & (rows.records["split"] == PLACES.index(name))) for name in SPLITS}
    kept["train"] = training
    return {name: indices for name, indices in kept.items() if len(indices)}


def _statistics(rows: Rows, indices: Indices, classes: Classes) -> SplitStatistics:
    """Sizes of one split, and how often each label occurs in it (classification), or each judgement."""
    records = rows.records[indices]
    return SplitStatistics(
        rows=len(records),
        tokens=int(records["tokens"].sum(dtype=np.int64)),
        trained_tokens=int(records["trained"].sum(dtype=np.int64)),
        longest=int(records["longest"].max()),
        labels=classes.counts(indices),
    )


def _shared_system(rows: Rows, used: Indices) -> str | None:
    """The system prompt that all rows open with, or None when they differ or have none."""
    systems = np.unique(rows.records["system"][used])
    return rows.example(int(used[0])).conversation.messages[0].content if len(systems) == 1 and systems[0] else None


def _counted_findings(rows: Rows) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for note in rows.notes():
        counts[note.step][note.finding.kind] += 1
    return {step: dict(sorted(kinds.items())) for step, kinds in sorted(counts.items())}


def dropped_lines(rows: Rows) -> Iterator[bytes]:
    """The lines of `dropped.jsonl`: every dropped row, in file order."""
    for index in np.flatnonzero(~rows.kept).tolist():
        example, of = rows.example(index), int(rows.records["of"][index])
        detail = rows.details.get(index, f"repeats {rows.where(of)}" if of >= 0 else "")
        dropped = DroppedRow(
            reason=rows.reason(index),
            source=example.source,
            line=example.line,
            content=example.content,
            detail=detail,
            sizes=example.sizes,
        )
        yield dropped.model_dump_json().encode() + b"\n"


def _finding_lines(rows: Rows) -> Iterator[bytes]:
    for row, step, finding in rows.notes():
        record = rows.records[row]
        found = RowFinding.model_validate(
            {
                "step": step,
                "kind": finding.kind,
                "detail": finding.detail,
                "source": rows.files[record["source"]],
                "line": int(record["line"]),
                "place": PLACES[record["split"]] if not record["reason"] else "dropped",
            }
        )
        yield found.model_dump_json().encode() + b"\n"
