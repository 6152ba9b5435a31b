from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tunesmith.evaluate import statistics
from tunesmith.evaluate.metric import Floats


def mean(totals: Floats) -> Floats:
    return totals[..., 0] / totals[..., 1]


def as_terms(values: Floats) -> Floats:
    return np.stack([values, np.ones_like(values)], axis=1)


@pytest.fixture
def sample() -> Floats:
    return np.random.default_rng(5).exponential(size=50)


def test_rows_differ_from_the_commonest() -> None:
    assert not statistics.many_differ(np.array([1.0] * 30 + [0.5] * 9))
    assert statistics.many_differ(np.array([1.0] * 30 + [0.5] * 10))
    assert not statistics.many_differ(np.array([np.nan] * 9 + [1.0] * 30))


def test_jackknife_standard_error_of_a_mean_is_the_usual_one(sample: Floats) -> None:
    found = statistics.standard_error(statistics.jackknife(as_terms(sample), mean))
    assert found == pytest.approx(stats.sem(sample))


def test_standard_error_needs_two_rows() -> None:
    assert statistics.standard_error(np.array([1.0])) is None


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (7, 10), (10, 10), (163, 180)])
def test_wilson_interval_equals_scipy(hits: int, rows: int) -> None:
    expected = stats.binomtest(hits, rows).proportion_ci(0.9, method="wilson")
    assert statistics.wilson_interval(hits, rows, 0.9) == pytest.approx((expected.low, expected.high))


def test_bca_interval_agrees_with_scipy(sample: Floats) -> None:
    terms = as_terms(sample)
    replicates = statistics.bootstrap(terms, mean, resamples=20000)
    found = statistics.bca_interval(float(sample.mean()), replicates, statistics.jackknife(terms, mean), 0.95)
    expected = stats.bootstrap(
        (sample,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.02)


def test_bca_interval_formula_equals_scipy_on_the_same_replicates(sample: Floats) -> None:
    # scipy accepts its own earlier replicates, so the interval formula is compared without sampling noise.
    result = stats.bootstrap((sample,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(2))
    left_out = statistics.jackknife(as_terms(sample), mean)
    found = statistics.bca_interval(float(sample.mean()), result.bootstrap_distribution, left_out, 0.95)
    expected = result.confidence_interval
    assert found == pytest.approx((expected.low, expected.high), rel=1e-6)


def test_bca_interval_of_equal_rows_has_no_width() -> None:
    terms = as_terms(np.full(8, 0.5))
    found = statistics.bca_interval(0.5, statistics.bootstrap(terms, mean), statistics.jackknife(terms, mean), 0.95)
    assert found == (0.5, 0.5)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (5, 0), (9, 2), (3, 12), (40, 40)])
def test_mcnemar_p_equals_the_binomial_sum(won: int, lost: int) -> None:
    flips = won + lost
    tail = sum(math.comb(flips, k) for k in range(min(won, lost) + 1)) / 2**flips
    assert statistics.mcnemar_p(won, lost) == pytest.approx(min(1.0, 2 * tail))


def test_permutation_p_agrees_with_scipy() -> None:
    random = np.random.default_rng(9)
    ours, theirs = random.normal(0.35, 1, 40), random.normal(0, 1, 40)
    expected = stats.permutation_test(
        (ours, theirs),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20000,
        rng=random,
    ).pvalue
    found = statistics.permutation_p(as_terms(ours), as_terms(theirs), mean, resamples=20000)
    assert found == pytest.approx(expected, abs=0.015)


def test_permutation_p_is_never_zero_and_one_for_equal_rows() -> None:
    far, zero = as_terms(np.full(30, 5.0)), as_terms(np.zeros(30))
    assert statistics.permutation_p(far, zero, mean, resamples=999) == pytest.approx(1 / 1000)
    assert statistics.permutation_p(zero, zero, mean, resamples=99) == 1.0


def test_mcnemar_rows_by_hand() -> None:
    # psi = 0.2, delta = 0.1: (1.95996 * 0.447214 + 0.841621 * 0.435890)^2 / 0.01 = 154.59 -> 155
    assert statistics.mcnemar_rows(15, 5, 100, 0.95) == 155


def test_mcnemar_rows_reach_the_promised_power() -> None:
    rows = statistics.mcnemar_rows(30, 15, 150, 0.95)
    random = np.random.default_rng(0)
    draws = random.multinomial(rows, [0.2, 0.1, 0.7], size=2000)
    found = np.mean([statistics.mcnemar_p(int(won), int(lost)) < 0.05 for won, lost, _ in draws])
    assert 0.72 < found < 0.86  # the exact test is a little conservative


def test_no_flips_still_give_a_finite_number() -> None:
    assert 0 < statistics.mcnemar_rows(0, 0, 100, 0.95) < 10_000


def test_rows_for_standard_error_by_hand() -> None:
    # 100 * (2.80159 * 0.04 / 0.05)^2 = 502.3
    assert statistics.rows_for_standard_error(0.05, 0.04, 100, 0.95) == 503
    assert statistics.rows_for_standard_error(0.0, 0.0, 100, 0.95) == 100
    assert statistics.rows_for_standard_error(0.0, 0.04, 100, 0.95) > 10_000
