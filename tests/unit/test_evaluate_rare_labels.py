"""Figures that only a label's few rows carry say as little among many other rows as those rows say alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunesmith.evaluate.compare import compare
from tunesmith.evaluate.paired_shares import tango_interval
from tunesmith.evaluate.scoring import score
from tunesmith.evaluate.statistics import wilson_interval
from tunesmith.gate.rule import rows_advice
from tunesmith.gate.rules.min_score import MinScore
from tunesmith.gate.rules.no_regression import NoRegression
from tunesmith.types.fields import MetricSpec
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import Comparison, Contestant, EvaluationReport, Prediction, Score

LABELS = ("a", "x")
FACTS = GateFacts()
RECALL = MetricSpec.model_validate({"name": "recall", "only": "x"})
PRECISION = MetricSpec.model_validate({"name": "precision", "only": "x"})
F1 = MetricSpec.model_validate({"name": "f1", "only": "x"})
MACRO_RECALL = MetricSpec(name="recall")
BALANCED = MetricSpec(name="balanced_accuracy")
MACRO_F1 = MetricSpec(name="macro_f1")


def rows_of(rare: str, common: str = "a" * 994, group: str = "") -> tuple[Prediction, ...]:
    """Answers to the rows whose reference is x, and to those whose reference is a."""
    pairs = [*(("x", answer) for answer in rare), *(("a", answer) for answer in common)]
    return tuple(
        Prediction(
            example_id=str(n), reference=reference, answer=answer, label=answer if answer in LABELS else None, tokens=1,
            seconds=0.1, first_token_seconds=0.1, finish_reason="stop", group=group and f"{group}{n // 2}",
        )
        for n, (reference, answer) in enumerate(pairs)
    )  # fmt: skip


def contestant(name: str, metric: MetricSpec, rows: tuple[Prediction, ...]) -> Contestant:
    return Contestant(
        name=name, model="m", adapter_digest=None, system_prompt=True, tokens_per_answer=1, latency_median_seconds=0.1,
        predictions=rows, scores={metric.title: score(metric, rows, LABELS, 0.95)},
    )  # fmt: skip


def scored(metric: MetricSpec, rare: str, common: str = "a" * 994, group: str = "") -> Score:
    return score(metric, rows_of(rare, common, group), LABELS, 0.95)


def compared(metric: MetricSpec, ours: str, theirs: str, our_common: str = "a" * 994) -> Comparison:
    one = contestant("tuned", metric, rows_of(ours, our_common))
    found = compare(metric.title, one, contestant("base", metric, rows_of(theirs)), LABELS, 0.95)
    assert found is not None
    return found


def report(*contestants: Contestant, pairs: tuple[Comparison, ...] = ()) -> EvaluationReport:
    rows = len(contestants[0].predictions)
    return EvaluationReport(
        dataset_digest="d", split="test", rows=rows, labels=LABELS, contestants=contestants, comparisons=pairs
    )


@pytest.mark.parametrize("metric", [RECALL, PRECISION, F1])
def test_six_right_rows_of_a_label_are_six_rows(metric: MetricSpec) -> None:
    found = scored(metric, "x" * 6)
    assert (found.low, found.high) == pytest.approx(wilson_interval(6, 6, 0.95))
    assert found.n == 1000


def test_five_of_six_reach_as_far_as_without_the_others() -> None:
    found, alone = scored(RECALL, "xxxxxa"), wilson_interval(5, 6, 0.95)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= alone.low < 0.45 < alone.high <= found.high


def test_false_alarms_are_rows_of_precision_and_not_of_recall() -> None:
    found = scored(RECALL, "x" * 6, "x" * 20 + "a" * 974)
    assert (found.low, found.high) == pytest.approx(wilson_interval(6, 6, 0.95))
    low = scored(PRECISION, "x" * 6, "x" * 2 + "a" * 992).low
    assert low is not None
    assert low <= wilson_interval(6, 8, 0.95).low


def test_a_label_that_nothing_answers_has_a_precision_of_anything() -> None:
    found = scored(PRECISION, "a" * 6)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 1.0)
    pair = compared(PRECISION, "a" * 6, "a" * 6)
    assert (pair.difference, pair.low, pair.high) == (0.0, -1.0, 1.0)


@pytest.mark.parametrize("metric", [MACRO_RECALL, BALANCED, MACRO_F1])
def test_an_average_over_two_labels_rests_on_twice_the_rare_ones(metric: MetricSpec) -> None:
    found = scored(metric, "x" * 6)
    assert (found.low, found.high) == pytest.approx(wilson_interval(12, 12, 0.95))


def test_errors_in_the_common_label_make_the_rare_one_no_surer() -> None:
    """20 errors of 994 are enough for a bootstrap, which knows nothing of the 6 that are all right."""
    found = scored(BALANCED, "x" * 6, "?" * 20 + "a" * 974)
    assert found.low is not None
    assert found.value is not None
    assert found.low == pytest.approx(wilson_interval(12 * found.value, 12, 0.95).low)
    equally = scored(BALANCED, "?" * 10 + "x" * 190, "?" * 10 + "a" * 190)
    assert equally.interval == "BCa bootstrap"


def test_groups_are_the_rows_of_a_label() -> None:
    # 6 rows of x in 3 groups
    found = scored(RECALL, "x" * 6, group="g")
    assert (found.clusters, found.low) == (500, pytest.approx(wilson_interval(3, 3, 0.95).low))


def test_one_won_row_of_a_labels_six_rules_no_loss_out() -> None:
    found, ends = compared(RECALL, "xaaaaa", "aaaaaa"), tango_interval(1, 0, 6, 0.95)
    assert (found.difference, found.low) == (pytest.approx(1 / 6), pytest.approx(ends.low))
    assert found.low == pytest.approx(-0.2887, abs=1e-4)
    assert found.interval.endswith("as few rows differ")


@pytest.mark.parametrize("metric", [PRECISION, F1, MACRO_RECALL, BALANCED, MACRO_F1])
def test_nor_does_it_in_other_figures_of_that_label(metric: MetricSpec) -> None:
    found = compared(metric, "xaaaaa", "aaaaaa")
    assert found.difference > 0.0
    assert found.low < -0.1


def test_equal_answers_to_a_rare_label_leave_open_what_six_rows_do() -> None:
    alike = compared(RECALL, "xxxaaa", "xxxaaa")
    assert (alike.low, alike.high) == pytest.approx(tango_interval(0, 0, 6, 0.95))
    both = compared(BALANCED, "xxxaaa", "xxxaaa")
    assert (both.low, both.high) == pytest.approx(tango_interval(0, 0, 12, 0.95))


def test_flips_of_the_common_label_tell_nothing_of_the_rare_one() -> None:
    found = compared(BALANCED, "x" * 6, "x" * 6, "?" * 20 + "a" * 974)
    assert found.difference == pytest.approx(-10 / 994)
    assert found.low < -0.2 < 0.2 < found.high


def test_min_score_does_not_pass_on_six_rows_and_asks_for_rows_of_that_kind() -> None:
    # 1.96^2 * 0.95 / 0.05 = 73 rows of x, of which 6 come in 1,000: 12,165 rows, 11,165 more
    model = contestant("tuned", RECALL, rows_of("x" * 6))
    verdict = MinScore(metric=RECALL.title, at_least=0.95).judge(report(model), FACTS)
    assert verdict.outcome == "inconclusive"
    assert "about 12,000 more rows would settle it" in verdict.reason


def test_the_advice_for_few_rows_that_differ_follows_the_interval() -> None:
    """The interval covers a bootstrap's and is not Wilson's own: its width gives the rows."""
    model = contestant("tuned", RECALL, rows_of("xxxxxa"))
    found = model.scores[RECALL.title]
    assert found.low is not None
    assert not found.interval.startswith("Wilson")
    verdict = MinScore(metric=RECALL.title, at_least=0.6).judge(report(model), FACTS)
    assert verdict.outcome == "inconclusive"
    reach = 2.801585 * (1.0 - found.low) / (2 * 1.959964)
    more = math.ceil(1000 * (max(reach, 5 / 6 - found.low) / (5 / 6 - 0.6)) ** 2) - 1000
    assert rows_advice(more) in verdict.reason


def test_no_regression_does_not_pass_on_one_won_row_of_six() -> None:
    for metric in (RECALL, MACRO_F1):
        ours, theirs = (contestant(n, metric, rows_of(r)) for n, r in (("tuned", "xaaaaa"), ("base", "aaaaaa")))
        pair = compare(metric.title, ours, theirs, LABELS, 0.95)
        assert pair is not None
        rule = NoRegression(metric=metric.title, model="tuned", baseline="base", margin=0.05)
        assert rule.judge(report(ours, theirs, pairs=(pair,)), FACTS).outcome == "inconclusive"


@pytest.mark.parametrize("metric", [BALANCED, RECALL])
def test_intervals_hold_the_truth_as_often_as_they_say(metric: MetricSpec) -> None:
    """100 draws of 6 rows of a label that is found 80% of the time, and of 94 that are found 95%."""
    truth = 0.8 if metric is RECALL else (0.8 + 0.95) / 2
    random = np.random.default_rng(4)
    held = 0
    for _ in range(100):
        rare, common = (random.random(rows) < right for rows, right in ((6, 0.8), (94, 0.95)))
        found = scored(metric, "".join("?x"[int(hit)] for hit in rare), "".join("?a"[int(hit)] for hit in common))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert held >= 95 - 2 * math.sqrt(100 * 0.95 * 0.05)
