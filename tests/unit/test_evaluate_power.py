"""Power, detectable differences and budgets: exact sums, simulation, and hand-worked figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tunesmith.errors import EvaluationError
from tunesmith.evaluate import power, statistics
from tunesmith.evaluate.budgets import BUDGETS, comparison_budgets, score_budgets
from tunesmith.types.report import Comparison, Score


def test_exact_power_is_the_sum_over_all_outcomes() -> None:
    rows, flips, gap = 30, 0.4, 0.2
    expected = sum(
        stats.multinomial.pmf([won, lost, rows - won - lost], rows, [0.3, 0.1, 0.6])
        for won in range(rows + 1)
        for lost in range(rows + 1 - won)
        if statistics.mcnemar_p(won, lost) < 0.05
    )
    assert power.mcnemar_power(gap, flips, rows, 0.95) == pytest.approx(expected, abs=1e-8)


def test_power_without_a_difference_is_below_alpha() -> None:
    assert 0.0 < power.mcnemar_power(0.0, 0.3, 200, 0.95) <= 0.05
    assert power.mcnemar_power(0.0, 0.0, 200, 0.95) == 0.0


@pytest.mark.parametrize(("confidence", "rows"), [(0.95, 25), (0.99, 60), (0.8, 40), (0.999, 80)])
def test_exact_power_holds_at_other_confidences(confidence: float, rows: int) -> None:
    # every pair flips: the power of a sign test, summed over the outcomes that it rejects
    shares = stats.binom.pmf(np.arange(rows + 1), rows, 0.7)
    rejects = [statistics.mcnemar_p(won, rows - won) < 1.0 - confidence for won in range(rows + 1)]
    assert power.mcnemar_power(0.4, 1.0, rows, confidence) == pytest.approx(float(shares[rejects].sum()), abs=1e-9)


@pytest.mark.parametrize(("won", "lost", "rows"), [(15, 5, 100), (0, 0, 100), (40, 38, 1000), (3, 1, 60)])
def test_the_detectable_difference_is_just_found(won: int, lost: int, rows: int) -> None:
    found = power.detectable_by_mcnemar(won, lost, rows, 0.95)
    assert found is not None
    seen = (won + lost) / rows
    assert power.mcnemar_power(found, max(found, seen), rows, 0.95) >= 0.8
    assert power.mcnemar_power(0.98 * found, max(0.98 * found, seen), rows, 0.95) < 0.8


def test_the_detectable_difference_is_near_connors_formula() -> None:
    # the inverse of mcnemar_rows, which approximates: 155 rows find 0.1 at 20% disagreement
    found = power.detectable_by_mcnemar(31, 0, 155, 0.95)
    assert found == pytest.approx(0.1, rel=0.08)


def test_too_few_rows_detect_nothing() -> None:
    # five flips of one sign have p = 2 / 2^5 = 0.0625
    assert power.detectable_by_mcnemar(2, 0, 5, 0.95) is None
    assert power.detectable_by_mcnemar(2, 0, 6, 0.95) is not None
    assert power.detectable_by_error(0.1, 5, 0.95) is None
    assert power.detectable_by_error(0.0, 500, 0.95) is None


def test_detectable_by_error_by_hand() -> None:
    # (t_0.975 + t_0.8) with 10 degrees of freedom = 2.22814 + 0.87906
    assert power.detectable_by_error(0.02, 11, 0.95) == pytest.approx(0.02 * 3.10720, rel=1e-5)
    assert power.detectable_by_error(1.0, 100_000, 0.95) == pytest.approx(2.80159, rel=1e-4)


def scored(value: float, rows: int) -> Score:
    low, high = statistics.wilson_interval(value * rows, rows, 0.95)
    return Score(
        metric="accuracy", value=value, n=rows, standard_error=0.04, low=low, high=high, scale="proportion",
        interval="Wilson",
    )  # fmt: skip


def test_budgets_of_a_proportion_are_wilsons() -> None:
    found = {budget.rows: budget.half_width for budget in score_budgets(scored(0.8, 100))}
    assert tuple(found) == BUDGETS
    assert found[100] == pytest.approx(0.0778, abs=1e-4)
    assert found[1000] == pytest.approx(1.95996 * math.sqrt(0.16 / 1000), rel=0.01)
    perfect = {budget.rows: budget.half_width for budget in score_budgets(scored(1.0, 20))}
    assert perfect[1000] == pytest.approx(0.00191, abs=1e-5)


def test_budgets_of_other_scores_shrink_with_the_square_root() -> None:
    score = Score(metric="f1", value=0.7, n=100, standard_error=0.03, low=0.64, high=0.76, interval="BCa bootstrap")
    assert [budget.half_width for budget in score_budgets(score, (100, 400))] == pytest.approx([0.06, 0.03])


def test_no_score_no_budget() -> None:
    with pytest.raises(EvaluationError, match="No row was scored"):
        score_budgets(Score(metric="f1", value=None, n=0, standard_error=None))


def test_budgets_of_a_comparison() -> None:
    pair = Comparison(
        metric="accuracy", model="m", baseline="b", difference=0.1, low=0.02, high=0.18, confidence=0.95, p_value=0.04,
        test="McNemar exact", n=100, won=15, lost=5, detectable=0.13,
    )  # fmt: skip
    found = {budget.rows: budget for budget in comparison_budgets(pair, (4, 100, 400))}
    assert found[400].half_width == pytest.approx(0.04)
    assert found[4].detectable is None
    assert found[100].detectable == power.detectable_by_mcnemar(15, 5, 100, 0.95)
    assert found[400].detectable == pytest.approx(0.064, abs=0.003)
    never = comparison_budgets(pair.model_copy(update={"won": 0, "lost": 0}), (400,))[0]
    assert never.detectable == power.detectable_by_mcnemar(4, 0, 400, 0.95), "at least one row of the hundred"
    means = comparison_budgets(pair.model_copy(update={"test": "paired permutation"}), (400,))
    assert means[0].detectable == pytest.approx(0.065)


def test_a_subsample_has_the_width_that_its_budget_promised() -> None:
    random = np.random.default_rng(0)
    right = random.random(4000) < 0.7
    whole = scored(float(right[:400].mean()), 400)
    for budget in score_budgets(whole, (50, 200)):
        widths = [
            statistics.wilson_interval(int(random.choice(right, budget.rows).sum()), budget.rows, 0.95)
            for _ in range(200)
        ]
        assert np.mean([(high - low) / 2 for low, high in widths]) == pytest.approx(budget.half_width, rel=0.06)
