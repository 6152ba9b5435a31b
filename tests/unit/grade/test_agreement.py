"""Agreement against published hand-worked examples and against scikit-learn and the package krippendorff."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tunesmith.grade.agreement import cohen_kappa, krippendorff_alpha

# Krippendorff 2011, section C/D: four observers, twelve units, gaps as dots.
OBSERVERS = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")
UNITS = [[label for label in unit if label != "."] for unit in zip(*map(str.split, OBSERVERS), strict=True)]


def test_kappa_of_fifty_grant_applications():
    """20 both yes, 5 yes/no, 10 no/yes, 15 both no: p 0.7, e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa 0.4."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    found = cohen_kappa(pairs)
    assert found.value == pytest.approx(0.4)
    assert (found.items, found.equal) == (50, pytest.approx(0.7))
    assert found.standard_error == pytest.approx(math.sqrt(0.7 * 0.3 / 50) / 0.5)


def test_kappa_where_it_says_nothing():
    assert cohen_kappa([]).value is None
    assert cohen_kappa([("a", "a")] * 3) == (None, None, 3, 1.0)
    assert cohen_kappa([("a", "b"), ("b", "a")]).value == -1.0


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_own_example(level, published):
    assert krippendorff_alpha(UNITS, level) == pytest.approx(published, abs=5e-4)


def test_alpha_of_two_observers_and_two_labels():
    """Krippendorff 2011, section A: ten units, alpha 0.095."""
    units = list(zip("0100000010", "1110010000", strict=True))
    assert krippendorff_alpha(units) == pytest.approx(0.095, abs=5e-4)


def test_alpha_where_it_says_nothing():
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([["a"], ["b"]]) is None  # nobody judged an item twice
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None  # chance alone agrees always
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_both_agree_with_the_reference_packages(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    krippendorff = pytest.importorskip("krippendorff", reason="pip install krippendorff")
    draw = random.Random(seed)
    truth = [draw.randrange(5) for _ in range(60)]
    table = [[label if draw.random() < 0.7 else draw.randrange(5) for label in truth] for _ in range(3)]
    assert cohen_kappa(list(zip(table[0], table[1], strict=True))).value == pytest.approx(
        metrics.cohen_kappa_score(table[0], table[1])
    )
    gaps = np.array(table, dtype=float)
    gaps[np.random.default_rng(seed).random(gaps.shape) < 0.2] = np.nan
    units = [[int(label) for label in unit if not math.isnan(label)] for unit in gaps.T]
    for level in ("nominal", "ordinal", "interval"):
        expected = krippendorff.alpha(reliability_data=gaps, level_of_measurement=level)
        assert krippendorff_alpha(units, level) == pytest.approx(expected)
