"""A contestant's predictions -> a score with its uncertainty, the per-class table, the confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tunesmith.evaluate import statistics
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import load_metric
from tunesmith.types.report import ClassScore, Confusion, Prediction, Score

__all__ = ["WILSON", "class_scores", "confusions", "score"]

WILSON = "Wilson"
BCA = "BCa bootstrap"


def score(name: str, predictions: Sequence[Prediction], labels: Sequence[str], confidence: float) -> Score:
    """The metric `name` over all rows it can score.

    The standard error is the jackknife's; the interval is Wilson's for proportions, else the BCa bootstrap's.
    """
    metric = load_metric(name)
    terms = metric.terms(predictions, labels)
    scored = terms[np.isfinite(terms).all(axis=1)]
    unscored = len(terms) - len(scored)
    empty = Score(
        metric=name,
        value=None,
        n=0,
        standard_error=None,
        unscored=len(terms),
        better=metric.better,
        scale=metric.scale,
        confidence=confidence,
    )
    if not len(scored):
        return empty
    totals = scored.sum(axis=0)
    value = float(metric.value(totals))
    if not np.isfinite(value):
        return empty
    left_out = statistics.jackknife(scored, metric.value) if len(scored) > 1 else np.empty(0)
    if metric.scale == "proportion":
        interval = statistics.wilson_interval(value * len(scored), len(scored), confidence)
    elif len(scored) > 1:
        interval = statistics.bca_interval(value, statistics.bootstrap(scored, metric.value), left_out, confidence)
    else:
        interval = statistics.Interval(value, value)
    return empty.model_copy(
        update={
            "value": value,
            "n": len(scored),
            "unscored": unscored,
            "standard_error": statistics.standard_error(left_out),
            "low": interval.low,
            "high": interval.high,
            "interval": WILSON if metric.scale == "proportion" else BCA,
        }
    )


def class_scores(predictions: Sequence[Prediction], labels: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of every label that occurs as a reference or an answer, in the order of `labels`.

    Precision of a label that was never answered, and recall of one that was never the reference, are 0.
    """
    read = label_reader(labels)
    references = Counter(read(row.reference) for row in predictions)
    answers = Counter(row.label for row in predictions if read(row.reference) is not None)
    hits = Counter(row.label for row in predictions if row.label is not None and row.label == read(row.reference))
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
