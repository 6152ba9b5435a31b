from __future__ import annotations

import pytest

from tunesmith.evaluate.labels import label_reader, normalise

LABELS = ("late fee", "refund", "Wire Transfer")


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("refund", "refund"),
        ("  Refund\n", "refund"),
        ("REFUND.", "refund"),
        ('"refund".', "refund"),
        ('"refund."', "refund"),
        ("\u201cLate Fee\u201d!", "late fee"),
        ("`wire transfer`", "Wire Transfer"),
        ("refund please", None),
        ("category: refund", None),
        ("ref", None),
        ("late  fee", None),  # inner white space is not forgiven
        ("late_fee", None),
        ("refund\nrefund", None),
        ("", None),
        ('"', None),
        ("...", None),
    ],
)
def test_only_documented_differences_are_forgiven(answer: str, label: str | None) -> None:
    assert label_reader(LABELS)(answer) == label


def test_labels_that_differ_only_in_case_need_an_exact_answer() -> None:
    read = label_reader(("Fee", "fee"))
    assert (read("Fee"), read(" fee "), read("FEE")) == ("Fee", "fee", None)


def test_normalising_twice_changes_nothing() -> None:
    for text in (" \"'A'.\" ", "!?", "x.", "'x'y'"):
        assert normalise(normalise(text)) == normalise(text)


def test_without_labels_nothing_is_a_label() -> None:
    assert label_reader(())("anything") is None
