"""All that a report is made of, as one value."""

from __future__ import annotations

from typing import Any

from tunesmith.types.base import Value
from tunesmith.types.dataset import DatasetManifest
from tunesmith.types.decision import Decision
from tunesmith.types.report import EvaluationReport
from tunesmith.types.run import RunRecord

__all__ = ["ReportFacts"]


class ReportFacts(Value):
    """What was prepared, trained, measured and decided.

    `decision` is None when no gate was run. `metrics` holds the rows of metrics.jsonl: {"step", "loss", ...} and
    {"step", "validation_loss"}. `places` says where things lie (name -> path), `next_steps` holds commands to type
    (what they do -> command), `created` is a date and time to show.
    """

    title: str
    created: str
    dataset: DatasetManifest
    run: RunRecord
    evaluation: EvaluationReport
    decision: Decision | None = None
    metrics: tuple[dict[str, Any], ...] = ()
    environment: dict[str, str] = {}
    places: dict[str, str] = {}
    next_steps: dict[str, str] = {}
