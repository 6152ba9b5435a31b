"""Metrics of texts, against the libraries that define them."""

from __future__ import annotations

import math
import re
import string
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.reference_texts import accepted, normalised
from tunesmith.evaluate.scoring import score
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction

ANSWERS = (
    "The cat sat on the mat, quietly.", "Refunds take five days.", "no", "", "Bitte senden Sie das Formular zurück!",
    "a late fee applies after 30 days of delay",
)  # fmt: skip
REFERENCES = (
    "The cat is on the mat.", "A refund takes five working days.", "No.", "Nothing.",
    "Bitte das Formular zurücksenden.", "a late fee applies after 30 days",
)  # fmt: skip


def row(answer: str, reference: str, **fields: Any) -> Prediction:
    base = {"example_id": "r7", "label": None, "tokens": 4, "seconds": 2.0, "first_token_seconds": 0.5}
    return Prediction.model_validate(
        {**base, "finish_reason": "stop", "answer": answer, "reference": reference, **fields}
    )


ROWS = tuple(row(answer, reference) for answer, reference in zip(ANSWERS, REFERENCES, strict=True))


def value_of(name: str, rows: tuple[Prediction, ...], **options: Any) -> float | None:
    return score(MetricSpec.model_validate({"name": name, **options}), rows, (), 0.95).value


def squad(text: str) -> str:
    """`normalize_answer` of SQuAD v1.1's evaluation script."""
    bare = "".join(each for each in text.lower() if each not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


@pytest.mark.parametrize("text", [*ANSWERS, *REFERENCES, "The  Fee, please!", "an A-B c++ (x)", "$5 & more"])
def test_normalisation_is_squads(text: str) -> None:
    assert normalised(text) == squad(text)


def test_normalisation_keeps_what_a_number_means() -> None:
    assert normalised("1.5") != normalised("15")
    assert normalised("-5") != normalised("5")
    assert normalised("10:30") != normalised("1030")
    assert normalised("1,000 euros.") == normalised("1000 euros")
    assert normalised("1,5") != normalised("15")
    assert normalised("«Straße»") == normalised("STRASSE")
    assert normalised("pre-paid") == normalised("prepaid")


def test_a_listed_answer_is_as_good_as_the_reference() -> None:
    listed = {"answers": ["NYC", "New York City"]}
    rows = (
        row("NYC", "New York", expect=listed),
        row("nyc.", "New York", expect=listed),
        row("New York", "", expect=listed),
    )
    assert value_of("exact_match", rows) == pytest.approx(1 / 3)
    assert value_of("normalised_match", rows) == pytest.approx(2 / 3)
    assert accepted(row("x", "", expect=listed)) == ("NYC", "New York City")
    assert accepted(row("x", "")) == ()
    with pytest.raises(EvaluationError, match=r"r7 has expect\.answers 'NYC'"):
        accepted(row("x", "y", expect={"answers": "NYC"}))


@pytest.mark.parametrize("name", ["exact_match", "normalised_match", "rouge", "bleu", "chrf"])
def test_a_row_that_expects_no_text_is_unscored(name: str) -> None:
    """A suite's refusals and tool calls beside its questions: an answer to them is neither right nor wrong here."""
    mixed = (row("", ""), *ROWS, row("I cannot help with that.", "", expect={"refusal": "refuse"}))
    found, alone = (score(name, rows, (), 0.95) for rows in (mixed, ROWS))
    assert (found.value, found.n, found.unscored) == (alone.value, len(ROWS), 2)
    assert score(name, mixed[:1], (), 0.95).value is None


def test_an_answer_of_which_nothing_is_left_matches_nothing_else() -> None:
    assert value_of("normalised_match", (row("...", "the"), row("the", "the"))) == 0.5


@pytest.mark.parametrize("options", [{}, {"lowercase": True}, {"tokenize": "char"}, {"tokenize": "intl"}])
def test_bleu_is_sacrebleus_corpus_score(options: dict[str, Any]) -> None:
    expected = BLEU(**options).corpus_score(ANSWERS, [REFERENCES]).score
    assert expected > 0
    assert value_of("bleu", ROWS, **options) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"word_order": 2}, {"char_order": 4, "lowercase": True}])
def test_chrf_is_sacrebleus_corpus_score(options: dict[str, Any]) -> None:
    expected = CHRF(**options).corpus_score(ANSWERS, [REFERENCES]).score
    assert value_of("chrf", ROWS, **options) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_overlap_takes_several_references_and_resamples_whole_rows(name: str) -> None:
    second = tuple(reference.upper() for reference in REFERENCES)
    rows = tuple(row(r.answer, r.reference, expect={"answers": [o]}) for r, o in zip(ROWS, second, strict=True))
    measure = BLEU() if name == "bleu" else CHRF()
    assert value_of(name, rows) == pytest.approx(measure.corpus_score(ANSWERS, [REFERENCES, second]).score, abs=1e-9)
    metric = load_metric(name)
    terms = metric.terms(ROWS, ())
    counts = np.array([[2.0, 0, 1, 0, 3, 1], [1, 1, 0, 0, 0, 0]])
    drawn = [[ROWS[i] for i, count in enumerate(each) for _ in range(int(count))] for each in counts]
    expected = [measure.corpus_score([r.answer for r in each], [[r.reference for r in each]]).score for each in drawn]
    assert metric.value(counts @ terms) == pytest.approx(np.array(expected), abs=1e-9)


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
@pytest.mark.parametrize("stem", [False, True])
def test_rouge_is_the_mean_of_rouge_scores_f_measure(kind: str, stem: bool) -> None:
    scorer = RougeScorer([kind], use_stemmer=stem)
    expected = np.mean([scorer.score(r.reference, r.answer)[kind].fmeasure for r in ROWS])
    assert value_of("rouge", ROWS, kind=kind, stem=stem) == pytest.approx(expected)


def test_rouge_takes_the_closest_reference() -> None:
    # 1 of 2 words right, 1 of 1 wanted: F = 2 * 0.5 * 1 / 1.5; the other reference shares nothing
    assert value_of("rouge", (row("late fee", "refund", expect={"answers": ["fee"]}),), kind="rouge1") == pytest.approx(
        2 / 3
    )


def test_bits_per_byte_by_hand_weighs_rows_by_their_length() -> None:
    rows = (
        row("", "ab", reference_logprob=math.log(1 / 16), reference_tokens=1),
        row("", "cdef", reference_logprob=math.log(1 / 4), reference_tokens=3),
        row("", "no log-probability"),
        row("", "", reference_logprob=-1.0, reference_tokens=1),
    )
    assert value_of("bits_per_byte", rows) == pytest.approx((4 + 2) / 6)
    umlaut = (row("", "ü", reference_logprob=math.log(1 / 4), reference_tokens=1),)
    assert value_of("bits_per_byte", umlaut) == pytest.approx(1.0)  # two bytes
    assert score("bits_per_byte", rows, (), 0.95).unscored == 2
