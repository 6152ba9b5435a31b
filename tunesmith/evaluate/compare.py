"""Two contestants on the same rows: the difference, a paired interval, a paired test, the flips.

Pairing matters: rows that both get right or wrong say nothing about the difference, and comparing two separate
intervals throws that knowledge away.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from tunesmith.errors import EvaluationError
from tunesmith.evaluate import statistics
from tunesmith.evaluate.metric import Floats, Metric, load_metric
from tunesmith.types.report import Comparison, Contestant

__all__ = ["compare", "compare_all"]

MCNEMAR = "McNemar exact"
PERMUTATION = "paired permutation"
BOOTSTRAP = "paired BCa bootstrap"


def compare_all(
    contestants: tuple[Contestant, ...], labels: tuple[str, ...], confidence: float
) -> tuple[Comparison, ...]:
    """Every later contestant against every earlier one, in every metric that both have."""
    pairs = [(later, earlier) for earlier, later in combinations(contestants, 2)]
    return tuple(
        found
        for later, earlier in pairs
        for name in later.scores
        if (found := compare(name, later, earlier, labels, confidence)) is not None
    )


def compare(
    name: str, model: Contestant, baseline: Contestant, labels: tuple[str, ...], confidence: float
) -> Comparison | None:
    """`model` minus `baseline` in metric `name` over the rows that both have scored; None when there are none.

    The interval is the paired BCa bootstrap's (rows drawn whole, seed 0). The test is McNemar's exact one for
    proportions, else the paired permutation test. A row is won when the model's own value on it is better.

    Raises:
        EvaluationError: the two did not answer the same rows in the same order.
    """
    if [row.example_id for row in model.predictions] != [row.example_id for row in baseline.predictions]:
        raise EvaluationError(f"{model.name} and {baseline.name} answered different rows and cannot be compared.")
    metric = load_metric(name)
    ours, theirs = metric.terms(model.predictions, labels), metric.terms(baseline.predictions, labels)
    both = np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1)
    ours, theirs = ours[both], theirs[both]
    rows = len(ours)
    if not rows:
        return None
    difference = float(metric.value(ours.sum(axis=0)) - metric.value(theirs.sum(axis=0)))
    won, lost = _flips(metric, ours, theirs)
    interval, error = _interval(metric, ours, theirs, difference, confidence)
    test, p_value = (
        (MCNEMAR, statistics.mcnemar_p(won, lost))
        if metric.scale == "proportion"
        else (PERMUTATION, statistics.permutation_p(ours, theirs, metric.value))
    )
    settled = not interval.low <= 0.0 <= interval.high and p_value < 1.0 - confidence
    needed = (
        statistics.mcnemar_rows(won, lost, rows, confidence)
        if metric.scale == "proportion"
        else statistics.rows_for_standard_error(difference, error, rows, confidence)
    )
    return Comparison(
        metric=name,
        model=model.name,
        baseline=baseline.name,
        difference=difference,
        low=interval.low,
        high=interval.high,
        confidence=confidence,
        p_value=p_value,
        test=test,
        n=rows,
        won=won,
        lost=lost,
        rows_for_decision=None if settled else max(1, needed - rows),
        better=metric.better,
        interval=BOOTSTRAP,
    )


def _flips(metric: Metric, ours: Floats, theirs: Floats) -> tuple[int, int]:
    gaps = metric.value(ours) - metric.value(theirs)
    gains = gaps if metric.better == "higher" else -gaps
    return int((gains > 0).sum()), int((gains < 0).sum())


def _interval(
    metric: Metric, ours: Floats, theirs: Floats, difference: float, confidence: float
) -> tuple[statistics.Interval, float]:
    """The paired interval of the difference and its jackknife standard error."""
    width = ours.shape[1]

    def gap(totals: Floats) -> Floats:
        return metric.value(totals[..., :width]) - metric.value(totals[..., width:])

    paired = np.concatenate([ours, theirs], axis=1)
    if len(paired) < 2:
        return statistics.Interval(difference, difference), 0.0
    left_out = statistics.jackknife(paired, gap)
    interval = statistics.bca_interval(difference, statistics.bootstrap(paired, gap), left_out, confidence)
    return interval, statistics.standard_error(left_out) or 0.0
