"""Rows that share a group: clustered errors, intervals and tests, against the published formulas and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.evaluate import statistics
from tunesmith.evaluate.clusters import clusters_of, summed
from tunesmith.evaluate.compare import compare, compare_all, flipped
from tunesmith.evaluate.metric import Floats
from tunesmith.evaluate.report.wording import holm, p_value
from tunesmith.evaluate.scoring import score
from tunesmith.types.report import Contestant, Prediction

LABELS = ("a", "b")


def contestant(name: str, answers: str, groups: list[str], logprobs: Floats | None = None) -> Contestant:
    logprobs = np.full(len(answers), -1.0) if logprobs is None else logprobs
    rows = tuple(
        Prediction(
            example_id=f"e{index}", reference="a", answer=answer, label=answer if answer in LABELS else None, tokens=1,
            seconds=0.1, first_token_seconds=0.1, finish_reason="stop", group=group, reference_tokens=1,
            reference_logprob=float(logprob),
        )
        for index, (answer, group, logprob) in enumerate(zip(answers, groups, logprobs, strict=True))
    )  # fmt: skip
    return Contestant(
        name=name, model="m", adapter_digest=None, system_prompt=True, tokens_per_answer=1, latency_median_seconds=0.1,
        predictions=rows,
        scores={metric: score(metric, rows, LABELS, 0.95) for metric in ("accuracy", "perplexity", "invalid_rate")},
    )  # fmt: skip


def test_rows_without_a_group_stand_alone() -> None:
    assert clusters_of(["", "", ""]) is None
    assert clusters_of(["x", "", "y"]) is None
    found = clusters_of(["x", "", "x", "y", ""])
    assert found is not None
    assert found.tolist() == [0, 1, 0, 2, 3]
    terms = np.arange(10.0).reshape(5, 2)
    assert summed(terms, found).tolist() == [[4.0, 6.0], [2.0, 3.0], [6.0, 7.0], [8.0, 9.0]]
    assert summed(terms, None) is terms


def test_the_clustered_error_of_a_mean_is_millers() -> None:
    # Miller 2024, eq. 4: SE^2 = 1/n^2 sum over clusters of (sum of deviations)^2, here with the correction C / (C - 1)
    random = np.random.default_rng(4)
    clusters, size = 12, 5
    values = (random.random(clusters)[:, None] > random.random((clusters, size))).astype(float)
    answers = "".join("a" if each else "b" for each in values.ravel())
    groups = [f"g{index // size}" for index in range(clusters * size)]
    found = score("accuracy", contestant("m", answers, groups).predictions, LABELS, 0.95)
    deviations = (values - values.mean()).sum(axis=1)
    expected = np.sqrt((deviations**2).sum()) / values.size * np.sqrt(clusters / (clusters - 1))
    assert found.standard_error == pytest.approx(expected)
    assert (found.n, found.clusters, found.interval) == (60, 12, "Wilson over effective rows")


def test_copies_of_rows_buy_no_certainty() -> None:
    # Every row three times: error and interval are those of the rows once
    once = contestant("m", "aaabaaab" * 3, [""] * 24)
    thrice = contestant("m", "".join(each * 3 for each in "aaabaaab" * 3), [f"g{i // 3}" for i in range(72)])
    single, tripled = once.scores["accuracy"], thrice.scores["accuracy"]
    assert tripled.standard_error == pytest.approx(single.standard_error)
    assert (tripled.low, tripled.high) == pytest.approx((single.low, single.high), abs=0.004)
    naive = score("accuracy", [row.model_copy(update={"group": ""}) for row in thrice.predictions], LABELS, 0.95)
    assert naive.standard_error is not None
    assert single.standard_error is not None
    assert naive.standard_error < 0.6 * single.standard_error
    assert (naive.clusters, naive.interval) == (None, "Wilson")


def test_equal_rows_of_a_cluster_count_as_one() -> None:
    found = score("accuracy", contestant("m", "a" * 20, [f"g{i // 4}" for i in range(20)]).predictions, LABELS, 0.95)
    expected = statistics.wilson_interval(5, 5, 0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_effective_rows_by_hand() -> None:
    # design effect (0.1 / 0.05)^2 = 4
    assert statistics.effective_rows(100, 20, 0.05, 0.1) == pytest.approx(25.0)
    assert statistics.effective_rows(100, 20, 0.1, 0.05) == 100.0
    assert statistics.effective_rows(100, 20, 0.0, 0.0) == 20.0


def test_a_comparison_of_copies_is_no_more_certain_than_of_the_rows() -> None:
    # 6 won, 0 lost: exact p = 2 / 2^6. Copied ten times McNemar would say 2 / 2^60.
    ours, theirs = "a" * 12, "bbbbbb" + "a" * 6
    found = compare(
        "accuracy",
        contestant("m", "".join(each * 10 for each in ours), [f"g{i // 10}" for i in range(120)]),
        contestant("b", "".join(each * 10 for each in theirs), [f"g{i // 10}" for i in range(120)]),
        LABELS,
        0.95,
    )
    assert found is not None
    assert (found.test, found.n, found.clusters, found.won) == ("paired permutation of groups", 120, 12, 60)
    assert found.p_value == pytest.approx(2 / 2**6, abs=0.01)


def test_clusters_are_resampled_whole_in_every_metric() -> None:
    random = np.random.default_rng(2)
    shifts = random.normal(0, 1, 10)
    logprobs = -3.0 + np.repeat(shifts, 8)
    groups = [f"g{i // 8}" for i in range(80)]
    ours, theirs = contestant("m", "a" * 80, groups, logprobs), contestant("b", "a" * 80, groups)
    alone = contestant("m", "a" * 80, [""] * 80, logprobs)
    found, naive = (compare("perplexity", each, theirs, LABELS, 0.95) for each in (ours, alone))
    assert found is not None
    assert naive is not None
    assert found.high - found.low > 1.8 * (naive.high - naive.low)


def test_one_cluster_gives_no_error_and_no_certainty() -> None:
    ours, theirs = (contestant(name, each * 9, ["one"] * 9) for name, each in (("m", "a"), ("b", "b")))
    assert ours.scores["accuracy"].standard_error is None
    found = compare("accuracy", ours, theirs, LABELS, 0.95)
    assert found is not None
    assert (found.p_value, found.settled, found.detectable) == (1.0, False, None)


def test_holm_by_hand_and_order_kept() -> None:
    # sorted 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1 -> 0.04, 0.06, 0.06, 0.5
    assert statistics.holm((0.03, 0.01, 0.5, 0.02)) == pytest.approx((0.06, 0.04, 0.5, 0.06))
    assert statistics.holm((0.9, 0.8)) == (1.0, 1.0)
    assert statistics.holm((0.2,)) == (0.2,)
    assert statistics.holm(()) == ()


def test_the_metrics_of_a_pair_are_one_family() -> None:
    # 6 of 20 won: p = 2 / 2^6 = 0.03125 alone; with three metrics Holm multiplies the smallest by 3
    ours, theirs = contestant("m", "a" * 20, [""] * 20), contestant("b", "b" * 6 + "a" * 14, [""] * 20)
    alone = compare("accuracy", ours, theirs, LABELS, 0.95)
    family = {each.metric: each for each in compare_all((theirs, ours), LABELS, 0.95)}
    assert alone is not None
    assert (alone.settled, alone.p_adjusted) == (True, alone.p_value)
    assert alone.p_value == pytest.approx(2 / 2**6)
    assert family["accuracy"].p_adjusted == pytest.approx(3 * 2 / 2**6)
    assert not family["accuracy"].settled
    assert family["accuracy"].rows_for_decision is not None
    assert {each.p_adjusted for name, each in family.items() if name != "accuracy"} == {1.0}


def test_the_rows_that_make_a_difference_are_named() -> None:
    ours, theirs = contestant("m", "abab?", [""] * 5), contestant("b", "aabba", [""] * 5)
    assert flipped("accuracy", ours, theirs, LABELS) == (("e2",), ("e1", "e4"))
    assert flipped("invalid_rate", ours, theirs, LABELS) == ((), ("e4",))


def test_reports_show_p_alone_and_by_holm() -> None:
    ours, theirs = contestant("m", "a" * 20, [""] * 20), contestant("b", "b" * 6 + "a" * 14, [""] * 20)
    alone = compare("accuracy", ours, theirs, LABELS, 0.95)
    family = {each.metric: each for each in compare_all((theirs, ours), LABELS, 0.95)}
    assert alone is not None
    assert (p_value(alone), holm(alone)) == ("0.031", "0.031")
    assert (p_value(family["accuracy"]), holm(family["accuracy"])) == ("0.031", "0.094")
    assert holm(alone.model_copy(update={"p_adjusted": None})) == "\u2014"
