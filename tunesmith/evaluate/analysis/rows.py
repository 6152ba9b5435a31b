"""What one metric says of each row by itself: the ground of flips, slices and errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tunesmith.evaluate.metric import Floats, load_metric, terms_of
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Contestant, EvaluationReport, Score

__all__ = ["RowValues", "main_title", "row_values", "spec_of"]


class RowValues(NamedTuple):
    """`values` [N]: the metric's value on each row alone, NaN where it is unscored; larger is better when `higher`."""

    values: Floats
    higher: bool

    @property
    def gains(self) -> Floats:
        """[N] the values with the sign that makes larger better."""
        return self.values if self.higher else -self.values

    @property
    def wrong(self) -> Floats:
        """[N] 1 where the row is not as good as a row can be, 0 where it is, NaN where it is unscored."""
        best = 1.0 if self.higher else 0.0
        return np.where(np.isfinite(self.values), (self.values != best).astype(np.float64), np.nan)


def spec_of(score: Score, title: str) -> MetricSpec:
    """The metric with the options that a stored score was made with."""
    label = title if title != score.metric else ""
    return MetricSpec.model_validate({"name": score.metric, "label": label, **score.options})


def main_title(report: EvaluationReport) -> str:
    """The metric that a reader looks at first: accuracy or exact match where they are, else the first with a value
    between 0 and 1, else the first.
    """
    scores = report.contestants[0].scores
    known = [name for name in ("accuracy", "exact_match") if name in scores and scores[name].value is not None]
    bounded = [name for name, score in scores.items() if score.scale != "number" and score.value is not None]
    return (*known, *bounded, *scores)[0]


def row_values(contestant: Contestant, title: str, labels: tuple[str, ...]) -> RowValues:
    """The metric `title` on each of the contestant's rows."""
    score = contestant.scores[title]
    metric = load_metric(spec_of(score, title))
    terms = terms_of(metric, contestant.predictions, labels)
    scored = np.isfinite(terms).all(axis=1)
    values = np.full(len(terms), np.nan)
    if scored.any():
        values[scored] = metric.value(terms[scored])
    return RowValues(values, score.better == "higher")
