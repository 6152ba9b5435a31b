from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import JsonValue
from scipy import stats

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.compare import compare, compare_all
from tunesmith.evaluate.paired_shares import tango_interval
from tunesmith.evaluate.scoring import score
from tunesmith.evaluate.statistics import wilson_interval
from tunesmith.types.report import Comparison, Contestant, Prediction

LABELS = ("a", "b", "c")
METRICS = ("accuracy", "macro_f1", "invalid_rate", "perplexity")


def contestant(name: str, answers: str, references: str, logprob: float = -1.0) -> Contestant:
    """One row per character; a reference or answer that is no label is invalid."""
    predictions = tuple(
        Prediction(
            example_id=str(index), reference=reference, answer=answer, tokens=2, seconds=0.1,
            label=answer if answer in LABELS else None,
            first_token_seconds=0.05, finish_reason="stop", reference_logprob=logprob * (1 + index % 3),
            reference_tokens=2,
        )
        for index, (answer, reference) in enumerate(zip(answers, references, strict=True))
    )  # fmt: skip
    return Contestant(
        name=name, model="m", adapter_digest=None, system_prompt=True, tokens_per_answer=2, latency_median_seconds=0.1,
        predictions=predictions, scores={metric: score(metric, predictions, LABELS, 0.95) for metric in METRICS},
    )  # fmt: skip


def pair(metric: str, ours: str, theirs: str, references: str) -> Comparison:
    found = compare(metric, contestant("m", ours, references), contestant("b", theirs, references), LABELS, 0.95)
    assert found is not None
    return found


def kept(name: str, *answers: str) -> Contestant:
    """Answers that are to be lower case and one word: a share of the two each."""
    wanted: dict[str, JsonValue] = {"constraints": [{"name": "lowercase"}, {"name": "words", "exactly": 1}]}
    rows = tuple(
        Prediction(
            example_id=str(n), reference="", answer=answer, label=None, tokens=1, seconds=0.1, first_token_seconds=0.1,
            finish_reason="stop", expect=wanted,
        )
        for n, answer in enumerate(answers)
    )  # fmt: skip
    return Contestant(
        name=name, model=name, adapter_digest=None, system_prompt=False, tokens_per_answer=1,
        latency_median_seconds=0.1, predictions=rows, scores={"constraints": score("constraints", rows, (), 0.95)},
    )  # fmt: skip


def test_one_better_row_of_six_rules_no_loss_out() -> None:
    """Tango's interval of half a flip won in 6, and of a whole one; the bootstrap's ends at 0."""
    old = kept("old", *["A B"] * 4, "a", "a")
    for better, flips in (("a b", 0.5), ("a", 1.0)):
        found = compare("constraints", kept("new", better, *["A B"] * 3, "a", "a"), old, (), 0.95)
        assert found is not None
        ends = tango_interval(flips, 0.0, 6, 0.95)
        assert (found.difference, found.low) == (pytest.approx(flips / 6), pytest.approx(ends.low))
        assert found.low < -0.25 < 0.0 < ends.high <= found.high
        assert found.interval.endswith("as few rows differ")


def test_a_nearly_perfect_answer_makes_the_others_no_surer() -> None:
    """Wilson at 5.5 of 6 begins at 0.53, at 6 of 6 at 0.61; the bootstrap began at 0.75."""
    perfect, nearly = (kept("m", *["a"] * 5, last).scores["constraints"] for last in ("a", "a b"))
    assert (nearly.value, nearly.interval) == (pytest.approx(11 / 12), "BCa bootstrap and Wilson, as few rows differ")
    low, _ = wilson_interval(5.5, 6, 0.95)
    assert nearly.low == pytest.approx(low)
    assert perfect.low is not None
    assert nearly.low is not None
    assert nearly.low < perfect.low
    assert kept("m", *["a", "a b"] * 12).scores["constraints"].interval == "BCa bootstrap"


def test_flips_and_exact_test_by_hand() -> None:
    # 10 rows: 5 won, 1 lost, 4 the same. p = 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64
    found = pair("accuracy", "aaaaaxaabb", "bbbbbaaabb", "aaaaaaaabb")
    assert (found.won, found.lost, found.n) == (5, 1, 10)
    assert found.difference == pytest.approx(0.4)
    assert found.p_value == pytest.approx(14 / 64)
    assert (found.test, found.interval) == ("McNemar exact", "Tango's score interval")
    assert found.low < 0.4 < found.high


def test_an_inconclusive_difference_says_how_many_more_rows() -> None:
    found = pair("accuracy", "aaaaaxaabb", "bbbbbaaabb", "aaaaaaaabb")
    # psi 0.6, delta 0.4: (1.95996 * 0.774597 + 0.841621 * 0.663325)^2 / 0.16 = 26.93 -> 27 rows in all
    assert found.rows_for_decision == 17


def test_a_clear_difference_is_settled() -> None:
    found = pair("accuracy", "abc" * 20, "bca" * 20, "abc" * 20)
    assert (found.difference, found.rows_for_decision) == (1.0, None)
    assert found.p_value < 1e-9


def test_lower_is_better_turns_the_flips_round() -> None:
    found = pair("invalid_rate", "abca", "xxca", "abca")
    assert (found.difference, found.won, found.lost, found.better) == (-0.5, 2, 0, "lower")


def test_macro_f1_is_tested_by_permutation() -> None:
    random = np.random.default_rng(1)
    references = "".join(random.choice(list(LABELS), 90))
    worse = "".join(r if random.random() < 0.4 else "a" for r in references)
    better = "".join(r if random.random() < 0.9 else "b" for r in references)
    found = pair("macro_f1", better, worse, references)
    assert found.test == "paired permutation"
    assert found.p_value < 0.01
    assert 0 < found.low < found.difference < found.high
    assert found.rows_for_decision is None


def test_two_equal_contestants_are_undecided() -> None:
    for metric in ("accuracy", "macro_f1"):
        found = pair(metric, "abc", "abc", "abc")
        assert (found.difference, found.p_value) == (0.0, 1.0)
        assert (found.low, found.high) == pytest.approx((-0.5615, 0.5615), abs=1e-4)  # -/+ z^2 / (3 + z^2)
        assert found.rows_for_decision is not None


def test_perplexity_flips_follow_each_row() -> None:
    references = "abcabc"
    model, baseline = contestant("m", references, references, -0.5), contestant("b", references, references, -1.0)
    found = compare("perplexity", model, baseline, LABELS, 0.95)
    assert found is not None
    assert (found.won, found.lost) == (6, 0)
    assert found.difference < 0


def test_every_later_contestant_meets_every_earlier_one() -> None:
    three = tuple(contestant(name, "abca", "abcb") for name in ("base", "prompt_only", "tuned"))
    found = compare_all(three, LABELS, 0.9)
    pairs = {(each.model, each.baseline) for each in found}
    assert pairs == {("prompt_only", "base"), ("tuned", "base"), ("tuned", "prompt_only")}
    assert len(found) == 3 * len(METRICS)
    assert {each.confidence for each in found} == {0.9}


def test_rows_that_nobody_scored_are_not_compared() -> None:
    assert compare("accuracy", contestant("m", "ab", "ab"), contestant("b", "ab", "ab"), (), 0.95) is None


def test_one_row_gives_no_certainty() -> None:
    found = pair("accuracy", "a", "b", "a")
    assert (found.difference, found.p_value) == (1.0, 1.0)
    assert (found.low, found.high) == pytest.approx(((1 - 3.841459) / (1 + 3.841459), 1.0))
    assert found.rows_for_decision is not None


def test_different_rows_are_refused() -> None:
    with pytest.raises(EvaluationError, match="answered different rows"):
        compare("accuracy", contestant("m", "a", "a"), contestant("b", "ab", "ab"), LABELS, 0.95)


def test_tangos_interval_by_hand() -> None:
    # z^2 = 3.841459: no flips in 5 rows, then 24 of 24 won
    assert tango_interval(0, 0, 5, 0.95) == pytest.approx((-3.841459 / 8.841459, 3.841459 / 8.841459))
    assert tango_interval(24, 0, 24, 0.95) == pytest.approx(((24 - 3.841459) / (24 + 3.841459), 1.0))


@pytest.mark.parametrize(("won", "lost", "rows"), [(9, 3, 44), (1, 0, 10), (2, 7, 30), (5, 5, 12)])
def test_at_both_ends_tangos_score_is_the_quantile(won: int, lost: int, rows: int) -> None:
    # with the likeliest share q of lost rows found by search, not by the formula: q + d are won, the rest the same
    for end in tango_interval(won, lost, rows, 0.95):
        q = np.linspace(max(0.0, -end), (1 - end) / 2, 400_001)[1:-1]
        likelihood = won * np.log(q + end) + lost * np.log(q) + (rows - won - lost) * np.log(1 - 2 * q - end)
        likeliest = q[np.argmax(likelihood)]
        score = (won - lost - rows * end) / math.sqrt(rows * (2 * likeliest + end * (1 - end)))
        assert abs(score) == pytest.approx(1.959964, abs=1e-3)
    low, high = tango_interval(lost, won, rows, 0.95)
    assert (-high, -low) == pytest.approx(tango_interval(won, lost, rows, 0.95), abs=1e-9)


def test_tangos_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    draws = random.multinomial(20, [0.12, 0.04, 0.84], size=3000)
    ends = [tango_interval(int(won), int(lost), 20, 0.95) for won, lost, _ in draws]
    assert np.mean([low <= 0.08 <= high for low, high in ends]) > 0.93


def test_rows_that_are_all_alike_give_no_certainty() -> None:
    for metric in ("accuracy", "macro_f1"):
        same, better = pair(metric, "ab", "ab", "ab"), pair(metric, "ab", "ba", "ab")
        assert same.low < -0.5 < 0.5 < same.high, metric
        assert better.low < 0.5 < better.high == 1.0, metric


def test_a_few_won_rows_need_as_many_as_the_exact_test_does() -> None:
    # 3 of 3 won: p = 0.25; 6 of 6 would be 0.03, so 3 more (the formula without its small print says 1)
    found = pair("accuracy", "abc", "bca", "abc")
    assert found.rows_for_decision == 3


def told(name: str, tokens: list[int]) -> Contestant:
    """A row for each number of tokens, half a second each."""
    rows = tuple(
        Prediction(
            example_id=str(place), reference="a", answer="a", label="a", tokens=each, seconds=each / 10,
            first_token_seconds=0.05, finish_reason="stop",
        )
        for place, each in enumerate(tokens)
    )  # fmt: skip
    names = ("tokens_per_answer", "latency", "accuracy")
    return Contestant(
        name=name, model="m", adapter_digest=None, system_prompt=True, tokens_per_answer=2, latency_median_seconds=0.1,
        predictions=rows, scores={metric: score(metric, rows, LABELS, 0.95) for metric in names},
    )  # fmt: skip


def shares(metric: str, ours: list[int], theirs: list[int]) -> tuple[float | None, float | None, float | None]:
    found = compare(metric, told("m", ours), told("b", theirs), LABELS, 0.95)
    assert found is not None
    return found.relative, found.relative_low, found.relative_high


def test_a_relative_difference_is_paired() -> None:
    # every answer is a fifth shorter, whatever its length: 4, 8, ..., 80 of 5, 10, ..., 100 tokens
    theirs = list(range(5, 105, 5))
    ours = [each * 4 // 5 for each in theirs]
    for metric in ("tokens_per_answer", "latency"):
        assert shares(metric, ours, theirs) == pytest.approx((-0.2, -0.2, -0.2))


def test_the_interval_of_a_relative_difference_is_scipys() -> None:
    random = np.random.default_rng(3)
    theirs = random.integers(20, 120, 150)
    ours = np.maximum(1, theirs - random.integers(0, 30, 150))
    value, low, high = shares("tokens_per_answer", ours.tolist(), theirs.tolist())
    assert value == pytest.approx(ours.sum() / theirs.sum() - 1.0)
    reference = stats.bootstrap(
        (ours, theirs), lambda one, other, axis: one.mean(axis) / other.mean(axis) - 1.0, paired=True,
        n_resamples=4000, method="BCa", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.003)


def test_shares_and_a_baseline_of_nothing_have_no_relative_difference() -> None:
    assert shares("accuracy", [4, 5], [5, 6]) == (None, None, None)
    assert shares("tokens_per_answer", [4, 5], [0, 0]) == (None, None, None)
