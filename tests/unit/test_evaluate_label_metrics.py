"""Metrics of labels and choices, against scikit-learn and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support

from tunesmith.errors import EvaluationError, NotFound
from tunesmith.evaluate.calibration import confidence_histogram, confidences
from tunesmith.evaluate.choices import chosen, right_choice
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.scoring import score
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction

LABELS = ("a", "b", "c", "d")


def row(answer: str, reference: str, labels: tuple[str, ...] = LABELS, **fields: Any) -> Prediction:
    base = {"example_id": "r7", "tokens": 4, "seconds": 2.0, "first_token_seconds": 0.5, "finish_reason": "stop"}
    label = label_reader(labels)(answer)
    return Prediction.model_validate({**base, "answer": answer, "reference": reference, "label": label, **fields})


def drawn(seed: int, rows: int = 50) -> tuple[Prediction, ...]:
    random = np.random.default_rng(seed)
    answers, references = random.choice([*LABELS, "none of them"], rows), random.choice(LABELS[:3], rows)
    return tuple(row(str(answer), str(reference)) for answer, reference in zip(answers, references, strict=True))


def value_of(name: str, rows: tuple[Prediction, ...], labels: tuple[str, ...] = LABELS, **options: Any) -> float | None:
    return score(MetricSpec.model_validate({"name": name, **options}), rows, labels, 0.95).value


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
def test_precision_recall_and_f1_equal_scikit_learn(seed: int, average: str) -> None:
    rows = drawn(seed)
    references, answers = [r.reference for r in rows], [r.label or "invalid" for r in rows]
    occurring = sorted({*references, *answers} - {"invalid"})
    expected = precision_recall_fscore_support(
        references, answers, labels=occurring, average=average, zero_division=0.0
    )
    for name, wanted in zip(("precision", "recall", "f1"), expected, strict=False):
        assert value_of(name, rows, average=average) == pytest.approx(wanted)


@pytest.mark.parametrize("label", LABELS)
def test_one_label_equals_scikit_learn(label: str) -> None:
    rows = drawn(9)
    references, answers = [r.reference for r in rows], [r.label or "invalid" for r in rows]
    expected = precision_recall_fscore_support(references, answers, labels=[label], average=None, zero_division=0.0)
    for name, wanted in zip(("precision", "recall", "f1"), expected, strict=False):
        assert value_of(name, rows, only=label) == pytest.approx(wanted[0])


def test_an_unknown_label_is_named_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="no label 'refnd'") as caught:
        value_of("recall", (row("fee", "fee", ("fee", "refund")),), ("fee", "refund"), only="refnd")
    assert "Did you mean 'refund'?" in (caught.value.hint or "")


@pytest.mark.parametrize("seed", range(4))
def test_balanced_accuracy_equals_scikit_learn(seed: int) -> None:
    # d is answered, but no reference: scikit-learn leaves it out and warns
    rows = tuple(each for each in drawn(seed) if each.label != "d" and each.label is not None)
    expected = balanced_accuracy_score([r.reference for r in rows], [r.label for r in rows])
    assert value_of("balanced_accuracy", rows) == pytest.approx(expected)
    assert value_of("balanced_accuracy", (*rows, row("d", "a"), row("?", "a"))) < expected


def test_balanced_accuracy_by_hand() -> None:
    assert value_of("balanced_accuracy", tuple(row("a", reference) for reference in "aaab")) == 0.5


def test_valid_answers_of_labels_and_of_options() -> None:
    assert value_of("valid_answer_rate", (row("b", "a"), row("maybe", "a"))) == 0.5
    asked = {"options": ("A", "B"), "expect": {"choices": ["Paris", "Rome"]}}
    rows = tuple(row(answer, "A", (), **asked) for answer in ("B", "C", "rome", "I think A"))
    assert value_of("valid_answer_rate", rows, ()) == 0.5
    assert value_of("valid_answer_rate", (row("text", "text", ()),), ()) is None
    labelled = (row("b", "a"), row("maybe", "a"))
    assert value_of("valid_answer_rate", (*labelled, row("Paris", "Paris"))) == 0.5  # a question beside the labels
    assert value_of("valid_answer_rate", (*labelled, *(row(said, "A", **asked) for said in ("A", "?")))) == 0.5


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("B", 1), ("(b)", 1), ("B.", 1), ("B)", 1), (" b: Rome ", 1), ("B. Rome", 1), ("Rome.", 1), ("rome", 1),
        ("A. Rome", None), ("I think B", None), ("A or B", None), ("D", None), ("", None), ("Answer: B", None),
        ("Berlin", None), ("C", 2),
    ],
)  # fmt: skip
def test_a_choice_is_read_strictly(answer: str, place: int | None) -> None:
    lettered = row(answer, "B", (), options=("A", "B", "C"), expect={"choices": ["Paris", "Rome", "Oslo"]})
    written = row(answer, "Rome", (), options=("Paris", "Rome", "Oslo"))
    assert chosen(lettered) == chosen(written) == place
    assert right_choice(lettered) == right_choice(written) == 1
    assert value_of("choice_letter_accuracy", (lettered,), ()) == float(place == 1)


def test_the_likeliest_option_by_hand() -> None:
    def asked(reference: str, *logprobs: float) -> Prediction:
        options = ("no", "never!")  # 2 and 6 bytes
        return row("", reference, (), options=options, option_logprobs=logprobs, option_tokens=(1, 4))

    rows = (
        asked("never!", -2.0, -3.0),
        asked("no", -2.0, -9.0),
        asked("no", -3.0, -3.0),
        asked("no"),
        asked("?", -1.0, -2.0),
    )
    assert value_of("option_accuracy", rows[:3], ()) == pytest.approx(1 / 3)  # a tie is wrong
    # by bytes: -1 < -0.5; -1 > -1.5; -1.5 < -0.5
    assert value_of("option_accuracy", rows[:3], (), normalise="bytes") == pytest.approx(2 / 3)
    # by tokens: -2 < -0.75; -2 > -2.25; -3 < -0.75
    assert value_of("option_accuracy", rows[:3], (), normalise="tokens") == pytest.approx(2 / 3)
    assert score("option_accuracy", rows, (), 0.95).unscored == 2
    without = rows[0].model_copy(update={"option_tokens": ()})
    with pytest.raises(EvaluationError, match="no token counts"):
        value_of("option_accuracy", (without,), (), normalise="tokens")


def sure(confidence: float, right: bool) -> Prediction:
    return row("a" if right else "b", "a", token_logprobs=(math.log(confidence),))


def test_calibration_error_by_hand() -> None:
    # (|2 - 1.8| + |1 - 1.2|) / 4
    rows = (sure(0.9, True), sure(0.9, True), sure(0.6, True), sure(0.6, False))
    assert value_of("ece", rows) == pytest.approx(0.1)
    assert value_of("ece", rows, bins=1) == pytest.approx(0.0, abs=1e-12)
    assert value_of("ece", (row("a", "a"),)) is None


@pytest.mark.parametrize(("binning", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_calibration_error_equals_scikit_learns_curve(binning: str, strategy: str) -> None:
    random = np.random.default_rng(1)
    levels = np.round(random.uniform(0.02, 0.98, 200), 6)
    right = random.random(200) < levels**1.5
    rows = tuple(sure(float(level), bool(each)) for level, each in zip(levels, right, strict=True))
    shares, means = calibration_curve(right, levels, n_bins=10, strategy=strategy)
    if strategy == "uniform":
        counts = np.histogram(levels, bins=np.linspace(0, 1, 11))[0]
        counts = counts[counts > 0]
    else:
        counts = np.full(10, 20)
    expected = float((counts * np.abs(shares - means)).sum() / 200)
    assert value_of("ece", rows, binning=binning) == pytest.approx(expected, abs=0.012 if binning == "mass" else 1e-9)


def test_confidence_of_options_is_their_softmax() -> None:
    asked = row("", "B", (), options=("A", "B"), option_logprobs=(math.log(0.2), math.log(0.6)), token_logprobs=(-9.0,))
    assert confidences((asked,), ())[0] == pytest.approx((0.75, 1.0))
    assert confidences((asked,), (), "tokens")[0] == pytest.approx((math.exp(-9.0), 0.0))
    assert np.isnan(confidences((row("a", "a"),), LABELS)).all()


def test_confidence_of_tokens_is_their_geometric_mean() -> None:
    found = confidences((row("a", "a", token_logprobs=(math.log(0.9), math.log(0.4))),), LABELS)
    assert found[0] == pytest.approx((0.6, 1.0))


def test_the_histogram_accounts_for_every_row() -> None:
    rows = (sure(0.95, True), sure(0.91, False), sure(0.3, True), row("a", "a"))
    found = confidence_histogram(rows, LABELS)
    assert [(each.rows, each.accuracy) for each in found] == [(1, 1.0), (2, 0.5)]
    assert (found[1].low, found[1].high, found[1].confidence) == pytest.approx((0.9, 1.0, 0.93))
    assert confidence_histogram((row("a", "a"),), LABELS) == ()
