"""The contract of every metric: rows become terms, and the value is a function of the terms' totals.

A metric turns each prediction into K numbers (`terms`), and computes its value from their sums over the rows
(`value`). Accuracy, for example, has the terms (right, 1) and the value right / rows; macro-F1 has, for every label,
(hit, is the reference, is the answer). Because totals add, one metric definition serves the score, the jackknife
standard error, the paired bootstrap (rows counted several times) and the paired permutation test (rows swapped).

The few that no totals give (a percentile) are `Ranked`: they are computed from the rows themselves, and their errors
come from the bootstrap alone.

A metric that needs more than the row (a judging model, a sandbox, an embedding) also has `grade`, which is called once
when the answers are there; its grades are kept in the predictions under `grade_key` and `terms` reads them from there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import Problem, RecipeError
from tunesmith.grade.judge import Judge
from tunesmith.types.base import Value
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Better, Gauge, Prediction, Scale
from tunesmith.types.suite import Item

__all__ = [
    "FOLDER",
    "Answered",
    "Floats",
    "Graded",
    "Metric",
    "Ranked",
    "gauge",
    "gauges",
    "grade_key",
    "graded_terms",
    "load_metric",
    "overall",
    "ratio",
    "terms_of",
]

Floats = NDArray[np.float64]
FOLDER = "tunesmith.evaluate.metrics"


class Metric(Protocol):
    """A metric plugin: a frozen value, one file in `evaluate/metrics`.

    `better` says which direction is an improvement; `scale` is "proportion" when every row counts 0 or 1 and the value
    is their mean, "share" for other values between 0 and 1, else "number"; `meaning` explains it in one plain line. A
    metric of plain numbers may have `ends`, the least and the greatest value that it can take: a gate rule whose bound
    lies beyond them is refused.
    """

    better: ClassVar[Better]
    scale: ClassVar[Scale]
    meaning: ClassVar[str]

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, K] numbers per row, with K >= 1; a row of NaN is unscored."""

    def value(self, totals: Floats) -> Floats:
        """[..., K] sums of terms over rows -> [...] values; NaN where the totals define none."""


@runtime_checkable
class Ranked(Protocol):
    """A metric whose value is no function of totals, a percentile for example. `overall` gives it for any rows.

    Its `value` is then the value of one row (what decides whether a row was won), and of totals only their mean.
    """

    def value_of_rows(self, terms: Floats, counts: Floats) -> Floats:
        """[N, K] terms of rows and [..., N] how often each counts -> [...] values; NaN where none counts."""


class Answered(NamedTuple):
    """An item and what a contestant answered."""

    item: Item
    prediction: Prediction


@runtime_checkable
class Graded(Protocol):
    """A metric whose rows are graded once, when the answers are there."""

    async def grade(self, answered: Sequence[Answered], judge: Judge | None) -> list[float | None]:
        """One grade per answer, in order; None where it could not be graded, never a middle score.

        Raises EvaluationError when the metric cannot work at all (no judge given, no sandbox here).
        """


def load_metric(spec: str | MetricSpec) -> Metric:
    """The metric plugin that `spec` names, with its options.

    Raises NotFound with the nearest match, RecipeError with every option that is not acceptable.
    """
    spec = MetricSpec(name=spec) if isinstance(spec, str) else spec
    kind = plugins.load(FOLDER, spec.name)
    try:
        return cast(Metric, kind.model_validate(spec.options))
    except ValidationError as error:
        fix = f"allowed: {', '.join(kind.model_fields) or 'no options'}"
        problems = [
            Problem(str(detail["msg"]), field=".".join(map(str, (spec.title, *detail["loc"]))), fix=fix)
            for detail in error.errors()
        ]
        raise RecipeError(problems, message=f"The metric {spec.name} cannot be used with these options.") from None


def grade_key(metric: object) -> str:
    """Where a metric's grades lie in a prediction: its file's name and the digest of its options."""
    if not isinstance(metric, Value):
        raise TypeError(f"{metric!r} is no metric plugin")
    return f"{type(metric).__module__.rpartition('.')[2]}:{metric.content_digest()[:12]}"


def graded_terms(metric: object, predictions: Sequence[Prediction]) -> Floats:
    """[N, 2]: (grade, 1) of each row, NaN where it has none: the terms of a mean of grades."""
    key = grade_key(metric)
    grades = [row.grades.get(key) for row in predictions]
    rows = [(np.nan, np.nan) if grade is None else (grade, 1.0) for grade in grades]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def gauge(metric: Metric) -> Gauge:
    """Which way the metric improves and between which ends its values lie: 0 and 1 for shares, for plain numbers its
    `ends`, where it has them.
    """
    anything = (-math.inf, math.inf)
    low, high = getattr(metric, "ends", anything) if metric.scale == "number" else (0.0, 1.0)
    return Gauge(metric.better, metric.scale, low, high)


def gauges(metrics: Sequence[MetricSpec]) -> dict[str, Gauge]:
    """The gauge of each metric by its title. Raises NotFound with the nearest match."""
    return {each.title: gauge(load_metric(each)) for each in metrics}


def terms_of(metric: Metric, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
    """[N, K] terms of all rows; those of rows without an answer (`error`) are NaN whatever the metric makes of them."""
    terms = metric.terms(predictions, labels)
    failed = np.array([bool(row.error) for row in predictions], dtype=bool)
    return np.where(failed[:, None], np.nan, terms) if failed.any() else terms


def overall(metric: Metric, terms: Floats) -> float:
    """The metric's value over the rows of `terms` [N, K], all of them scored; NaN where it has none."""
    if isinstance(metric, Ranked):
        return float(metric.value_of_rows(terms, np.ones(len(terms))))
    return float(metric.value(terms.sum(axis=0)))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element-wise quotient, NaN where the denominator is 0."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=np.asarray(denominator) != 0)
