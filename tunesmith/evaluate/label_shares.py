"""How many rows a figure over labels rests on, where few rows differ and a bootstrap of them says too little.

A label's figure rests on the n_c rows that carry it: its recall on the rows whose reference it is, its precision on
those answered with it. Six right rows of a rare label say as little among a thousand others as they say alone.

For an average sum(w_c f_c) over labels the variance is sum(w_c^2 f_c (1 - f_c) / n_c), at most max(w_c / n_c) times
sum(w_c f_c (1 - f_c)), which by Jensen's inequality (1906) is at most f (1 - f) of the average f. So it varies no more
than a plain share of n = min(n_c / w_c) rows: C times the rarest of C labels' rows for a macro average. All labels
equally common give all rows; 6 rows beside 994 give 12. A difference of two averages has the same bound, with the share
of rows that tell the two apart in place of f (1 - f).

One row may count in several labels (a confusion lowers the F1 of two). As (x_1 + ... + x_k)^2 <= k (x_1^2 + ... +
x_k^2), n is then divided by k, of the row with the most labels. Labels that no row carries count 0 by definition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluate.label_counts import Shares
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.paired_shares import tango_interval
from tunesmith.evaluate.statistics import FEW_DIFFER, Interval, unlike_most, wilson_interval

__all__ = ["every_label_differs", "every_pair_differs", "paired_interval", "share_interval"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def every_label_differs(shares: Shares) -> bool:
    """Whether ten rows or more differ from their label's others, of n = min(n_c / w_c)."""
    carried = _carried(shares)
    own, rows = ratio(shares.numerators, shares.denominators), carried.sum(axis=0)
    differ = np.array([unlike_most(own[which, label]) for label, which in enumerate(carried.T)])
    return _averaged(differ, rows, shares.weights) * _least(rows, shares.weights) >= FEW_DIFFER


def every_pair_differs(ours: Shares, theirs: Shares) -> bool:
    """Whether ten rows or more tell the two contestants apart, of n = min(n_c / w_c)."""
    rows, weights = _fewer(_carried(ours), _carried(theirs)).sum(axis=0), _weights(ours, theirs)
    telling = _telling(ours, theirs).sum(axis=0)
    return _averaged(telling, rows, weights) * _least(rows, weights) >= FEW_DIFFER


def share_interval(shares: Shares, observed: float, confidence: float) -> Interval:
    """Wilson's interval of a figure `observed` over labels, of the rows it rests on; 0 to 1 where there are none.

    Example: recalls of 6 of 6 and of 994 of 994, averaged: Wilson's of 12 of 12, from 0.757.
    """
    carried = _carried(shares)
    rows = _least(_rows(carried, _figures(shares), shares.of_two), shares.weights) / _most_labels(carried)
    return wilson_interval(observed * rows, rows, confidence) if rows else Interval(0.0, 1.0)


def paired_interval(ours: Shares, theirs: Shares, observed: float, confidence: float) -> Interval:
    """Tango's interval of the difference `observed` of two figures over labels, of the rows it rests on.

    Of the rows that tell the two apart, as many more are won than lost as the difference says. Example: one won row of
    the label's six, recall of that label: Tango's of 1 won in 6, from -0.29, whatever other rows there are.
    """
    weights, telling = _weights(ours, theirs), _telling(ours, theirs)
    each = _rows(_fewer(_carried(ours), _carried(theirs)), _middle(ours, theirs), ours.of_two)
    rows = _least(each, weights) / _most_labels(telling)
    if not rows:
        return Interval(-1.0, 1.0)
    flips = min(1.0, max(abs(observed), _averaged(telling.sum(axis=0), each, weights)))
    return tango_interval(rows * (flips + observed) / 2, rows * (flips - observed) / 2, rows, confidence)


def _least(rows: Floats | Ints, weights: Floats) -> float:
    """min(n_c / w_c) over the labels that have rows and weigh; 0 where there are none."""
    weigh = (weights > 0) & (rows > 0)
    return float((rows[weigh] / weights[weigh]).min()) if weigh.any() else 0.0


def _most_labels(counts: Bools) -> int:
    """k, where `counts` [N, C] says which rows move the figure through which labels."""
    return max(1, int(counts.sum(axis=1).max(initial=1)))


def _averaged(counts: Ints, rows: Floats | Ints, weights: Floats) -> float:
    """The share of the rows [C] that are among the `counts` [C], averaged over labels as the figure is."""
    shares = ratio(counts.astype(np.float64), rows.astype(np.float64))
    return float((weights * np.nan_to_num(shares)).sum())


def _weights(ours: Shares, theirs: Shares) -> Floats:
    """[C] the greater weight of each label: one may have answered labels that the other has not."""
    return np.maximum(ours.weights, theirs.weights)


def _middle(ours: Shares, theirs: Shares) -> Floats:
    """[C] the mean of the two figures of each label."""
    return (_figures(ours) + _figures(theirs)) / 2


def _figures(shares: Shares) -> Floats:
    """[C] the figure of each label, 0 where no row carries it."""
    return np.nan_to_num(ratio(shares.numerators.sum(axis=0), shares.denominators.sum(axis=0)))


def _carried(shares: Shares) -> Bools:
    """[N, C] whether the row counts in the label."""
    return np.asarray(shares.denominators > 0)


def _fewer(ours: Bools, theirs: Bools) -> Bools:
    """[N, C] for each label the rows of the one who has fewer of them, but some."""
    few, many = ours.sum(axis=0), theirs.sum(axis=0)
    return np.where((few > 0) & ((few <= many) | (many == 0)), ours, theirs)


def _rows(carried: Bools, figures: Floats, of_two: bool) -> Floats:
    """[C] how many rows of a plain share tell as much as those that carry each label.

    F1 = 2 J / (1 + J) of the share J of right answers among the n rows that have the label as reference or answer. So
    its variance is that of a share F of n (1 + J)^2 / 2 = 2 n / (2 - F)^2 rows; never taken as more than n.
    """
    rows = carried.sum(axis=0).astype(np.float64)
    return rows * np.minimum(1.0, 2.0 / (2.0 - figures) ** 2) if of_two else rows


def _telling(ours: Shares, theirs: Shares) -> Bools:
    """[N, C] whether the row moves the difference of the label's figures.

    It does where numerator - f denominator differs, with f the mean of the two figures: a false alarm moves no
    precision that is 0, one more right answer none that is 1.
    """
    moved = (ours.numerators - theirs.numerators) - _middle(ours, theirs) * (ours.denominators - theirs.denominators)
    return np.asarray(np.abs(moved) > 1e-12)
