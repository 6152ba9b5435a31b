from __future__ import annotations

import numpy as np
import pytest

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.compare import compare, compare_all
from tunesmith.evaluate.scoring import score
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


def test_flips_and_exact_test_by_hand() -> None:
    # 10 rows: 5 won, 1 lost, 4 the same. p = 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64
    found = pair("accuracy", "aaaaaxaabb", "bbbbbaaabb", "aaaaaaaabb")
    assert (found.won, found.lost, found.n) == (5, 1, 10)
    assert found.difference == pytest.approx(0.4)
    assert found.p_value == pytest.approx(14 / 64)
    assert (found.test, found.interval) == ("McNemar exact", "paired BCa bootstrap")
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
        assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
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


def test_one_row_gives_no_width_and_no_certainty() -> None:
    found = pair("accuracy", "a", "b", "a")
    assert (found.low, found.high, found.p_value) == (1.0, 1.0, 1.0)
    assert found.rows_for_decision is not None


def test_different_rows_are_refused() -> None:
    with pytest.raises(EvaluationError, match="answered different rows"):
        compare("accuracy", contestant("m", "a", "a"), contestant("b", "ab", "ab"), LABELS, 0.95)
