"""A contestant's predictions -> a score with its uncertainty, the per-class table, the confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tunesmith.evaluate import statistics
from tunesmith.evaluate.clusters import Clusters, clusters_of, summed
from tunesmith.evaluate.label_counts import Averaged
from tunesmith.evaluate.label_shares import every_label_differs, share_interval
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import Floats, Metric, Ranked, load_metric, overall, terms_of
from tunesmith.evaluate.ranked import spread
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import ClassScore, Confusion, Prediction, Score

__all__ = ["WILSON", "class_scores", "confusions", "score"]

WILSON = "Wilson"
ALL_ALIKE = "Wilson, as rows are all alike"
FEW_DIFFER = "BCa bootstrap and Wilson, as few rows differ"
CLUSTERED_WILSON = "Wilson over effective rows"
BCA = "BCa bootstrap"
PERCENTILE = "bootstrap quantiles"


class _Measured(NamedTuple):
    """A value's standard error, its interval and the interval's method."""

    error: float | None
    interval: statistics.Interval
    method: str


def score(
    metric_spec: str | MetricSpec, predictions: Sequence[Prediction], labels: Sequence[str], confidence: float
) -> Score:
    """The metric that `metric_spec` names over all rows it can score; rows without an answer are unscored.

    The standard error is the jackknife's; the interval is Wilson's for proportions, else the BCa bootstrap's, which has
    no width where rows are all alike: a share has Wilson's there, and both where fewer than ten rows differ from the
    others, of the rows that carry the figure (see `label_shares` for averages over labels); a plain number of one row
    has none. Rows that share a group count as one cluster in both. Metrics of ranks (percentiles) have both from the
    bootstrap.
    """
    spec = MetricSpec(name=metric_spec) if isinstance(metric_spec, str) else metric_spec
    metric = load_metric(spec)
    terms = terms_of(metric, predictions, labels)
    usable = np.asarray(np.isfinite(terms).all(axis=1))
    scored = terms[usable]
    empty = Score(
        metric=spec.name,
        options=spec.options,
        value=None,
        n=0,
        standard_error=None,
        unscored=len(terms),
        better=metric.better,
        scale=metric.scale,
        confidence=confidence,
    )
    value = overall(metric, scored) if len(scored) else np.nan
    if not np.isfinite(value):
        return empty
    clusters = clusters_of([row.group for row, kept in zip(predictions, usable.tolist(), strict=True) if kept])
    measured = _measured(metric, scored, clusters, value, confidence)
    return empty.model_copy(
        update={
            "value": value,
            "n": len(scored),
            "unscored": len(terms) - len(scored),
            "standard_error": measured.error,
            "low": measured.interval.low,
            "high": measured.interval.high,
            "interval": measured.method,
            "clusters": None if clusters is None else int(clusters.max()) + 1,
        }
    )


def _measured(metric: Metric, terms: Floats, clusters: Clusters | None, value: float, confidence: float) -> _Measured:
    if isinstance(metric, Ranked):
        found = spread(lambda counts: metric.value_of_rows(terms, counts), len(terms), clusters, confidence)
        return _Measured(found.error, found.interval, PERCENTILE)
    units = summed(terms, clusters)
    left_out = statistics.jackknife(units, metric.value) if len(units) > 1 else np.empty(0)
    error = statistics.standard_error(left_out)
    if metric.scale == "proportion":
        rows: float = len(terms)
        if clusters is not None:
            alone = statistics.standard_error(statistics.jackknife(terms, metric.value))
            rows = statistics.effective_rows(len(terms), len(units), alone, error)
        method = WILSON if clusters is None else CLUSTERED_WILSON
        return _Measured(error, statistics.wilson_interval(value * rows, rows, confidence), method)
    if metric.scale == "share" and statistics.all_alike(error, len(units)):
        return _Measured(error, _of_share(metric, units, value, confidence), ALL_ALIKE)
    if len(units) < 2:
        return _Measured(error, statistics.Interval(value, value), BCA)
    drawn = statistics.bca_interval(value, statistics.bootstrap(units, metric.value), left_out, confidence)
    if metric.scale == "number" or _many_differ(metric, units):
        return _Measured(error, drawn, BCA)
    wilson = _of_share(metric, units, value, confidence)
    both = statistics.Interval(min(drawn.low, wilson.low), max(drawn.high, wilson.high))
    return _Measured(error, both, FEW_DIFFER)


def _many_differ(metric: Metric, units: Floats) -> bool:
    if isinstance(metric, Averaged):
        return every_label_differs(metric.by_label(units))
    return statistics.many_differ(_carried(metric, units))


def _carried(metric: Metric, units: Floats) -> Floats:
    """The own values of the units that carry the figure: those with nothing to measure say nothing about it."""
    own = metric.value(units)
    return own[np.isfinite(own)]


def _of_share(metric: Metric, units: Floats, value: float, confidence: float) -> statistics.Interval:
    """Wilson's interval over the units that carry the share; over labels, over those that the average rests on."""
    if isinstance(metric, Averaged):
        return share_interval(metric.by_label(units), value, confidence)
    rows = len(_carried(metric, units))
    return statistics.wilson_interval(value * rows, rows, confidence)


def class_scores(predictions: Sequence[Prediction], labels: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of every label that occurs as a reference or an answer, in the order of `labels`.

    Precision of a label that was never answered, and recall of one that was never the reference, are 0.
    """
    read = label_reader(labels)
    pairs = [(read(row.reference), row.label) for row in predictions]
    references = Counter(reference for reference, _ in pairs)
    answers = Counter(label for reference, label in pairs if reference is not None)
    hits = Counter(label for reference, label in pairs if label is not None and label == reference)
    return tuple(
        ClassScore(
            label=label,
            precision=hits[label] / max(1, answers[label]),
            recall=hits[label] / max(1, references[label]),
            f1=2 * hits[label] / (references[label] + answers[label]),
            support=references[label],
        )
        for label in labels
        if references[label] + answers[label]
    )


def confusions(predictions: Sequence[Prediction], labels: Sequence[str]) -> tuple[Confusion, ...]:
    """How often each reference label was answered as each label (None: invalid), right answers too, largest first."""
    read = label_reader(labels)
    cells = Counter((reference, row.label) for row in predictions if (reference := read(row.reference)) is not None)
    ordered = sorted(cells.items(), key=lambda cell: (-cell[1], cell[0][0], cell[0][1] or ""))
    return tuple(Confusion(reference=reference, predicted=label, count=count) for (reference, label), count in ordered)
