"""Advantages by hand, with completions that could not be graded left out of every mean."""

from __future__ import annotations

import pytest

from tunesmith.train.advantages import deviation, group_relative, leave_one_out


def test_group_relative_by_hand() -> None:
    """(1, 0, 0, 1): mean 1/2, squares 4 * 1/4 over 3, deviation 0.57735; (2, 2): no deviation, no advantage."""
    first, second = group_relative([(1.0, 0.0, 0.0, 1.0), (2.0, 2.0)], "group")
    unit = 0.5 / (3**-0.5 + 1e-4)
    assert first == pytest.approx((unit, -unit, -unit, unit))
    assert second == (0.0, 0.0)
    assert group_relative([(1.0, 0.0, 0.0, 1.0)], "none") == [(0.5, -0.5, -0.5, 0.5)]


def test_group_relative_over_the_batch() -> None:
    """All rewards (0, 2, 4, 4): mean 2.5, squares 6.25 + 0.25 + 2.25 + 2.25 = 11 over 3."""
    first, second = group_relative([(0.0, 2.0), (4.0, 4.0)], "batch")
    unit = 1.0 / ((11 / 3) ** 0.5 + 1e-4)
    assert first == pytest.approx((-unit, unit))
    assert second == (0.0, 0.0)


def test_leave_one_out_by_hand() -> None:
    assert leave_one_out((1.0, 0.0, 0.0, 1.0)) == pytest.approx((2 / 3, -2 / 3, -2 / 3, 2 / 3))
    assert leave_one_out((3.0, 1.0)) == (2.0, -2.0)
    assert leave_one_out((3.0,)) == (0.0,)


def test_what_is_unscored_counts_nowhere() -> None:
    assert group_relative([(1.0, None, 0.0)], "none") == [(0.5, 0.0, -0.5)]
    assert leave_one_out((1.0, None, 0.0)) == (1.0, 0.0, -1.0)
    assert leave_one_out((1.0, None, None)) == (0.0, 0.0, 0.0)
    assert group_relative([(None, None)], "group") == [(0.0, 0.0)]
    assert deviation((None, 1.0, 3.0)) == pytest.approx(2**0.5)
