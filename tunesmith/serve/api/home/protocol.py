"""What the endpoints below /v1/tunesmith answer."""

from __future__ import annotations

from typing import Any, Literal

from tunesmith.types.base import Value
from tunesmith.types.dataset import DatasetManifest, DroppedRow
from tunesmith.types.decision import Decision
from tunesmith.types.release import AliasMove, Release
from tunesmith.types.report import EvaluationReport
from tunesmith.types.run import RunRecord

__all__ = ["DatasetEntry", "DroppedEntry", "MetricsEntry", "ReleaseDetail", "ReleaseEntry", "RunEntry"]


class ReleaseEntry(Value):
    """A release with its id (the digest of its content) and the aliases that point to it."""

    id: str
    object: Literal["tunesmith.release"] = "tunesmith.release"
    reference: str
    aliases: tuple[str, ...]
    release: Release


class ReleaseDetail(ReleaseEntry):
    """A release with the evidence it was registered with, and the moves of its name's aliases."""

    run: RunRecord | None
    report: EvaluationReport | None
    decision: Decision | None
    dataset: DatasetManifest | None
    history: tuple[AliasMove, ...]


class DatasetEntry(Value):
    """A prepared dataset: its manifest with ledger, proof of rendering and statistics."""

    id: str
    object: Literal["tunesmith.dataset"] = "tunesmith.dataset"
    manifest: DatasetManifest


class DroppedEntry(Value):
    """A row that was left out. `id` is its place in the list, from 1."""

    id: str
    object: Literal["tunesmith.dropped_row"] = "tunesmith.dropped_row"
    row: DroppedRow


class RunEntry(Value):
    """A training run; no record means that it has not finished."""

    id: str
    object: Literal["tunesmith.run"] = "tunesmith.run"
    status: Literal["finished", "unfinished"]
    record: RunRecord | None


class MetricsEntry(Value):
    """One line of a run's metrics: a step (from 1; 0 is before the first) and what was measured there."""

    id: str
    object: Literal["tunesmith.metrics"] = "tunesmith.metrics"
    step: int
    data: dict[str, Any]
