from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.scoring import class_scores, confusions, score
from tunesmith.types.report import Prediction

LABELS = ("a", "b", "c", "d")


def prediction(reference: str, answer: str, labels: Sequence[str] = LABELS, **fields: object) -> Prediction:
    base = {"example_id": "x", "tokens": 2, "seconds": 0.1, "first_token_seconds": 0.05, "finish_reason": "stop"}
    label = label_reader(labels)(answer)
    return Prediction.model_validate({**base, "reference": reference, "answer": answer, "label": label, **fields})


def random_predictions(rows: int = 60, seed: int = 3) -> list[Prediction]:
    random = np.random.default_rng(seed)
    answers = random.choice([*LABELS, "nonsense"], size=rows)
    return [prediction(str(r), str(a)) for r, a in zip(random.choice(LABELS, size=rows), answers, strict=True)]


def test_accuracy_counts_invalid_answers_as_wrong() -> None:
    found = score("accuracy", [prediction("a", "A."), prediction("a", "b"), prediction("a", "zzz")], LABELS, 0.95)
    assert found.value == pytest.approx(1 / 3)
    # standard error of the values 1, 0, 0: s = sqrt(2/6 + ...) = 0.57735, / sqrt(3) = 1/3
    assert found.standard_error == pytest.approx(1 / 3)
    assert (found.n, found.unscored, found.better, found.interval) == (3, 0, "higher", "Wilson")


def test_accuracy_equals_scikit_learn() -> None:
    rows = random_predictions()
    expected = accuracy_score([r.reference for r in rows], [r.label or "invalid" for r in rows])
    assert score("accuracy", rows, LABELS, 0.95).value == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_equals_scikit_learn(seed: int) -> None:
    rows = random_predictions(40, seed)
    references, answers = [r.reference for r in rows], [r.label or "invalid" for r in rows]
    occurring = sorted({*references, *answers} - {"invalid"})
    expected = f1_score(references, answers, labels=occurring, average="macro", zero_division=0.0)
    assert score("macro_f1", rows, LABELS, 0.95).value == pytest.approx(expected)


def test_macro_f1_leaves_out_labels_that_never_occur() -> None:
    # a: 2 * 1 / (1 + 2) = 2/3; b: 2 * 0 / (1 + 0) = 0; c and d do not occur: (2/3 + 0) / 2
    found = score("macro_f1", [prediction("a", "a"), prediction("b", "a")], LABELS, 0.95)
    assert found.value == pytest.approx(1 / 3)


def test_class_scores_equal_scikit_learn() -> None:
    rows = random_predictions()
    references, answers = [r.reference for r in rows], [r.label or "invalid" for r in rows]
    precision, recall, f1, support = precision_recall_fscore_support(
        references, answers, labels=LABELS, zero_division=0.0
    )
    for index, found in enumerate(class_scores(rows, LABELS)):
        assert found.label == LABELS[index]
        assert (found.precision, found.recall, found.f1) == pytest.approx((precision[index], recall[index], f1[index]))
        assert found.support == support[index]


def test_confusions_account_for_every_row() -> None:
    rows = random_predictions()
    found = confusions(rows, LABELS)
    assert sum(cell.count for cell in found) == len(rows)
    assert [cell.count for cell in found] == sorted((cell.count for cell in found), reverse=True)
    assert sum(c.count for c in found if c.predicted is None) == sum(row.label is None for row in rows)


def test_exact_match_forgives_only_surrounding_space() -> None:
    rows = [prediction("Fee", "Fee "), prediction("Fee", "fee")]
    assert score("exact_match", rows, (), 0.95).value == 0.5


def test_invalid_rate() -> None:
    rows = [prediction("a", "a"), prediction("a", "b"), prediction("a", "x"), prediction("a", "")]
    found = score("invalid_rate", rows, LABELS, 0.95)
    assert (found.value, found.better) == (0.5, "lower")


def test_perplexity_is_weighted_by_tokens() -> None:
    rows = [
        prediction("a", "a", reference_logprob=math.log(1 / 2), reference_tokens=1),
        prediction("a", "a", reference_logprob=3 * math.log(1 / 8), reference_tokens=3),
        prediction("a", "a"),
        prediction("a", "a", reference_logprob=-math.inf, reference_tokens=3),
    ]
    found = score("perplexity", rows, LABELS, 0.95)
    assert found.value == pytest.approx(2 ** ((1 + 9) / 4))
    assert (found.n, found.unscored) == (2, 2)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "invalid_rate"])
def test_without_labels_rows_are_unscored_and_counted(metric: str) -> None:
    found = score(metric, [prediction("long text", "other text", ())], (), 0.95)
    assert (found.value, found.n, found.unscored, found.standard_error, found.low) == (None, 0, 1, None, None)


def test_a_reference_that_is_no_label_is_unscored() -> None:
    found = score("accuracy", [prediction("new", "a"), prediction("a", "a")], LABELS, 0.95)
    assert (found.value, found.n, found.unscored) == (1.0, 1, 1)
    assert score("macro_f1", [prediction("new", "a"), prediction("a", "a")], LABELS, 0.95).unscored == 1


def test_the_interval_of_a_perfect_score_still_has_width() -> None:
    found = score("accuracy", [prediction("a", "a")] * 20, LABELS, 0.95)
    assert found.high == 1.0
    # Wilson at 20 of 20: 1 / (1 + 1.96^2 / 20) = 0.8389
    assert found.low == pytest.approx(0.8389, abs=1e-4)


def test_bootstrap_interval_brackets_the_value_and_repeats() -> None:
    rows = random_predictions(80)
    first, second = (score("macro_f1", rows, LABELS, 0.95) for _ in range(2))
    assert first == second
    assert first.low is not None
    assert first.value is not None
    assert first.high is not None
    assert first.low < first.value < first.high
    assert first.standard_error == pytest.approx((first.high - first.low) / 3.92, rel=0.25)
