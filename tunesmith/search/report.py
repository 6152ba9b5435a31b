"""What a search found."""

from __future__ import annotations

from typing import Any, Literal

from tunesmith.types.base import Value
from tunesmith.types.report import Better

__all__ = ["SearchReport", "SearchTrial"]


class SearchTrial(Value):
    """One trial: its options by dotted field, and the metric of its best checkpoint on the validation rows.

    `pruned` ones were stopped after `epochs` epochs, `failed` ones say why. `run_id` is the run, which is like that of
    `tunesmith train` with the same options.
    """

    number: int
    state: Literal["complete", "pruned", "failed", "running"]
    options: dict[str, Any]
    value: float | None
    standard_error: float | None
    validation_loss: float | None
    epochs: int
    run_id: str
    seconds: float | None
    failure: str = ""


class SearchReport(Value):
    """All trials of a study so far. `best` is the number of the best one; None before one is complete. `pruning` says
    by what trials are stopped early.
    """

    study: str
    metric: str
    better: Better
    split: Literal["validation"] = "validation"
    rows: int
    trials: tuple[SearchTrial, ...]
    best: int | None
    pruning: str

    @property
    def best_trial(self) -> SearchTrial | None:
        """The best one."""
        return next((trial for trial in self.trials if trial.number == self.best), None)
