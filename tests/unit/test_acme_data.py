"""The acceptance lab's written data: every row keeps the answer form, cites what it was shown, is asked once."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunesmith.prepare.formats.structured import Structured

ACME = Path(__file__).parents[2] / "examples" / "acme"
FIXED = {
    "no_context": "I could not find that in our documents.",
    "refused": "I cannot help with that request.",
}


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ACME / name).read_text(encoding="utf-8").splitlines()]


def _asked(row: dict[str, Any]) -> str:
    """The question without case, punctuation and spacing, so that a copy with another comma is still a copy."""
    return " ".join(re.sub(r"\W+", " ", unicodedata.normalize("NFKC", row["input"]["user"]).casefold()).split())


def _texts(found: Any) -> list[str]:
    if isinstance(found, str):
        return [found]
    inside = found.values() if isinstance(found, dict) else found
    return [text for each in inside for text in _texts(each)]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return _lines("sft.jsonl")


@pytest.fixture(scope="module")
def policies() -> dict[str, str]:
    return {each["id"]: each["text"] for each in _lines("policies.jsonl")}


def test_the_handbook_has_short_passages_with_their_own_ids(policies: dict[str, str]) -> None:
    assert len(policies) == len(_lines("policies.jsonl")) >= 60
    assert all(re.fullmatch(r"[a-z]{3}-\d\d", identity) for identity in policies)
    assert all(15 <= len(text.split()) <= 40 for text in policies.values())


def test_there_are_enough_rows_of_each_status(rows: list[dict[str, Any]]) -> None:
    assert len(rows) >= 420
    share = {status: n / len(rows) for status, n in Counter(row["output"]["status"] for row in rows).items()}
    assert share == pytest.approx({"answered": 0.62, "no_context": 0.22, "refused": 0.16}, abs=0.03)
    two = sum(len(row["output"]["citations"]) == 2 for row in rows) / len(rows)
    assert two == pytest.approx(0.15, abs=0.03)


def test_every_output_has_the_form_that_its_status_asks_for(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        output = row["output"]
        assert list(output) == ["status", "answer", "citations"]
        if output["status"] == "answered":
            assert 1 <= len(output["citations"]) <= 2
            assert 5 <= len(output["answer"].split()) <= 25
            assert output["answer"] not in FIXED.values()
        else:
            assert output["answer"] == FIXED[output["status"]]
        if output["status"] == "no_context":
            assert output["citations"] == []


def test_citations_are_shown_passages_in_their_order(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        shown = [each["id"] for each in row["input"]["context"]]
        assert len(shown) == len(set(shown)) <= 4
        cited = set(row["output"]["citations"])
        assert row["output"]["citations"] == [identity for identity in shown if identity in cited]


def test_every_number_in_an_answer_stands_in_a_cited_passage(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        output = row["output"]
        cited = " ".join(each["text"] for each in row["input"]["context"] if each["id"] in output["citations"])
        for number in re.findall(r"\d[\d.,:]*\d|\d", output["answer"]):
            assert number in cited, (number, row["input"]["user"])


def test_the_context_is_the_handbook_except_for_planted_orders(
    rows: list[dict[str, Any]], policies: dict[str, str]
) -> None:
    shown = [(row, each) for row in rows for each in row["input"]["context"]]
    changed = [row for row, each in shown if policies.get(each["id"], each["text"]) != each["text"]]
    assert changed, "no passage of the handbook was tampered with"
    assert {row["output"]["status"] for row in changed} == {"refused"}
    notes = [row["output"]["status"] for row, each in shown if each["id"] not in policies]
    assert {"answered", "no_context", "refused"} == set(notes), "a note must not give the status away"


def test_each_handbook_passage_is_cited_and_also_stands_by_uncited(
    rows: list[dict[str, Any]], policies: dict[str, str]
) -> None:
    cited = Counter(identity for row in rows for identity in row["output"]["citations"])
    shown = Counter(each["id"] for row in rows for each in row["input"]["context"])
    assert [identity for identity in policies if not 3 <= cited[identity] < shown[identity]] == []


def test_every_row_is_read_and_carries_the_one_system_text(rows: list[dict[str, Any]]) -> None:
    system = (ACME / "system.txt").read_text(encoding="utf-8").strip()
    assert all(sentence in system for sentence in FIXED.values())
    for row in rows:
        messages = Structured().parse(row).messages
        assert messages[0].content == row["input"]["system"] == system
        assert json.loads(messages[-1].content or "") == row["output"]


def test_texts_are_normalised(rows: list[dict[str, Any]]) -> None:
    for text in _texts(rows):
        assert text == unicodedata.normalize("NFC", text).strip()
        assert "\n" not in text
        assert "  " not in text


def test_no_question_is_asked_twice_nor_held_out(rows: list[dict[str, Any]]) -> None:
    asked = Counter(_asked(row) for row in rows)
    assert [question for question, n in asked.items() if n > 1] == []
    if (ACME / "test.jsonl").exists():
        assert sorted(asked.keys() & {_asked(row) for row in _lines("test.jsonl")}) == []
