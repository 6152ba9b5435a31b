"""Metrics of time, length and cost: percentiles against numpy, the rest by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.compare import compare, compare_all
from tunesmith.evaluate.metric import Floats
from tunesmith.evaluate.percentiles import percentile_of
from tunesmith.evaluate.scoring import score
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Contestant, Prediction


def row(index: int, seconds: float, **fields: Any) -> Prediction:
    base = {
        "example_id": str(index),
        "reference": "",
        "answer": "",
        "label": None,
        "tokens": 10,
        "finish_reason": "stop",
    }
    return Prediction.model_validate({**base, "seconds": seconds, "first_token_seconds": seconds / 4, **fields})


def contestant(name: str, seconds: Floats, group: int = 1) -> Contestant:
    rows = tuple(
        row(index, float(each), group="" if group == 1 else f"g{index // group}") for index, each in enumerate(seconds)
    )
    scores = {metric: score(metric, rows, (), 0.95) for metric in ("latency", "time_to_first_token")}
    return Contestant(
        name=name, model="m", adapter_digest=None, system_prompt=True, scores=scores, tokens_per_answer=10,
        latency_median_seconds=1.0, predictions=rows,
    )  # fmt: skip


def value_of(name: str, rows: tuple[Prediction, ...], **options: Any) -> float | None:
    return score(MetricSpec.model_validate({"name": name, **options}), rows, (), 0.95).value


@pytest.mark.parametrize("percentile", [1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 100.0])
def test_a_percentile_of_counted_rows_is_numpys(percentile: float) -> None:
    random = np.random.default_rng(3)
    values, counts = random.exponential(size=40), random.integers(0, 4, (5, 40)).astype(float)
    for each, found in zip(counts, percentile_of(values, counts, percentile), strict=True):
        expected = np.quantile(np.repeat(values, each.astype(int)), percentile / 100, method="inverted_cdf")
        assert found == expected


def test_a_percentile_is_a_measured_row_and_nothing_counted_is_none() -> None:
    values = np.arange(1.0, 21.0)
    assert percentile_of(values, np.ones(20), 95.0) == 19.0
    assert np.isnan(percentile_of(values, np.zeros((2, 20)), 95.0)).all()
    assert np.isnan(percentile_of(np.empty(0), np.empty(0), 95.0))


def test_latency_by_hand() -> None:
    rows = tuple(row(index, seconds) for index, seconds in enumerate((3.0, 1.0, 9.0, 2.0)))
    assert value_of("latency", rows) == 9.0
    assert value_of("latency", rows, percentile=50) == 2.0
    assert value_of("time_to_first_token", rows) == 0.5
    assert score("latency", (*rows, row(9, 0.0)), (), 0.95).unscored == 1


def test_the_error_of_a_percentile_is_that_of_order_statistics() -> None:
    # Median of n exponentials: standard error sqrt(0.25 / n) / density, the density at the median being 1/2
    rows = tuple(row(index, float(each)) for index, each in enumerate(np.random.default_rng(0).exponential(size=400)))
    found = score(MetricSpec.model_validate({"name": "latency", "percentile": 50}), rows, (), 0.95)
    assert found.standard_error == pytest.approx(0.05, rel=0.25)
    assert found.interval == "bootstrap quantiles"
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 3.92 == pytest.approx(0.05, rel=0.25)


def test_a_slower_model_is_found_and_an_equal_one_is_not() -> None:
    random = np.random.default_rng(1)
    times, others = random.gamma(4.0, 0.25, (2, 200))
    slower = compare("latency", contestant("m", 1.5 * times), contestant("b", others), (), 0.95)
    assert slower is not None
    assert (slower.settled, slower.test, slower.interval) == (True, "paired permutation", "paired bootstrap quantiles")
    assert slower.difference > 0
    assert slower.lost > slower.won
    for equal in compare_all((contestant("b", times), contestant("m", others)), (), 0.95):
        assert not equal.settled


def test_equal_latencies_differ_no_more_often_than_stated() -> None:
    false = 0
    for seed in range(40):
        times = np.random.default_rng(seed).gamma(4.0, 0.25, (2, 40))
        pair = compare("time_to_first_token", contestant("m", times[0]), contestant("b", times[1]), (), 0.95)
        assert pair is not None
        false += pair.settled
    assert false <= 7  # the binomial's 99.9% quantile for 40 repeats at 5%


def test_rows_of_a_group_are_drawn_together_in_percentiles_too() -> None:
    times = np.repeat(np.random.default_rng(5).gamma(4.0, 0.25, 20), 10)
    alone, grouped = contestant("a", times).scores["latency"], contestant("g", times, 10).scores["latency"]
    assert alone.standard_error is not None
    assert grouped.standard_error is not None
    assert grouped.standard_error > 1.5 * alone.standard_error
    assert grouped.clusters == 20
    pair = compare("latency", contestant("g", times, 10), contestant("h", times + 1.0, 10), (), 0.95)
    assert pair is not None
    assert (pair.test, pair.clusters, pair.settled) == ("paired permutation of groups", 20, True)


def test_one_row_has_no_error() -> None:
    found = score("latency", (row(0, 2.0),), (), 0.95)
    assert (found.value, found.standard_error, found.low, found.high) == (2.0, None, 2.0, 2.0)


def test_tokens_and_speed_by_hand() -> None:
    rows = (row(0, 1.0, tokens=10), row(1, 2.0, tokens=50))
    assert value_of("tokens_per_answer", rows) == 30.0
    assert value_of("tokens_per_second", rows) == 20.0
    assert score("tokens_per_second", (*rows, row(2, 1.0, tokens=0)), (), 0.95).unscored == 1


def test_cost_by_hand() -> None:
    rows = (row(0, 1.0, prompt_tokens=2000, tokens=500), row(1, 1.0, prompt_tokens=1000, tokens=250))
    assert value_of("cost_per_request", rows, prompt_price=1.0, answer_price=4.0) == pytest.approx(0.003)
    assert value_of("cost_per_request", rows, answer_price=4.0) == pytest.approx(0.0015)
    assert value_of("cost_per_request", (row(0, 1.0),), prompt_price=1.0) is None
    with pytest.raises(EvaluationError, match="needs prices"):
        value_of("cost_per_request", rows)
