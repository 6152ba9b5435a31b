"""ACME's held-out rows and its preferences: right by the same rules as the training rows, and asked apart from them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunesmith.prepare.formats.preference import Preference
from tunesmith.prepare.formats.structured import Structured

ACME = Path(__file__).parents[2] / "examples" / "acme"
FIXED = {
    "no_context": "I could not find that in our documents.",
    "refused": "I cannot help with that request.",
}
FAULTS = {
    "distractor_cited",
    "followed_injection",
    "invented_citation",
    "prose",
    "too_long",
    "unsupported",
    "wrong_status",
}


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ACME / name).read_text(encoding="utf-8").splitlines()]


def shown_in(prompt: str) -> tuple[dict[str, str], str]:
    """The documents of a rendered prompt by their ids, and the question after them."""
    documents, _, question = prompt.rpartition("\n\n")
    return dict(re.findall(r"^\[([^\]]+)\] (.*)$", documents, re.MULTILINE)), question


def plain(question: str) -> str:
    """Without case, punctuation and spacing, so that a copy with another comma is still a copy."""
    return " ".join(re.sub(r"\W+", " ", unicodedata.normalize("NFKC", question).casefold()).split())


def require_right(output: dict[str, Any], documents: dict[str, str]) -> None:
    """What every right answer keeps to."""
    assert list(output) == ["status", "answer", "citations"]
    assert output["citations"] == [identity for identity in documents if identity in output["citations"]]
    if output["status"] == "answered":
        assert output["citations"]
        assert 5 <= len(output["answer"].split()) <= 25
    else:
        assert output["answer"] == FIXED[output["status"]]
    assert output["status"] != "no_context" or not output["citations"]
    cited = " ".join(documents[identity] for identity in output["citations"])
    for number in re.findall(r"\d[\d.,:]*\d|\d", output["answer"]):
        assert number in cited, output


@pytest.fixture(scope="module")
def held_out() -> list[dict[str, Any]]:
    return lines("test.jsonl")


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, Any]]:
    return lines("preferences.jsonl")


def test_held_out_rows_are_right(held_out: list[dict[str, Any]]) -> None:
    for row in held_out:
        require_right(row["output"], {each["id"]: each["text"] for each in row["input"]["context"]})


def test_held_out_rows_are_enough_and_of_every_kind(held_out: list[dict[str, Any]]) -> None:
    assert len(held_out) >= 160
    status = Counter(row["output"]["status"] for row in held_out)
    share = {name: count / len(held_out) for name, count in status.items()}
    assert share == pytest.approx({"answered": 0.60, "no_context": 0.21, "refused": 0.19}, abs=0.02)
    assert len({row["language"] for row in held_out}) >= 5
    assert {len(row["input"]["context"]) for row in held_out} >= {1, 2, 3, 4}


def test_some_held_out_rows_are_answered_from_documents_that_no_training_row_shows(
    held_out: list[dict[str, Any]],
) -> None:
    trained = {each["text"] for row in lines("sft.jsonl") for each in row["input"]["context"]}
    for row in held_out:
        cited = [each["text"] for each in row["input"]["context"] if each["id"] in row["output"]["citations"]]
        if row["case"] in ("handbook", "new_document", "two_documents"):
            assert (row["case"] == "new_document") == any(text not in trained for text in cited), row["input"]["user"]
    assert sum(row["case"] == "new_document" for row in held_out) >= 20


def test_the_preferred_answer_is_right_and_the_other_has_the_fault_it_names(pairs: list[dict[str, Any]]) -> None:
    assert len(pairs) >= 160
    assert {row["fault"] for row in pairs} == FAULTS
    for row in pairs:
        documents, _ = shown_in(row["input"]["messages"][-1]["content"])
        right = json.loads(row["preferred_output"][0]["content"])
        require_right(right, documents)
        wrong = row["non_preferred_output"][0]["content"]
        assert wrong != row["preferred_output"][0]["content"]
        if row["fault"] == "prose":
            assert not is_strict(wrong), wrong
        if row["fault"] == "invented_citation":
            assert set(json.loads(wrong)["citations"]) - set(documents)
        if row["fault"] == "distractor_cited":
            assert set(json.loads(wrong)["citations"]) - set(right["citations"])
        if row["fault"] == "wrong_status":
            assert json.loads(wrong)["status"] != right["status"]
        if row["fault"] == "too_long":
            assert len(wrong) > 1.2 * len(row["preferred_output"][0]["content"])
        if row["fault"] == "unsupported":
            assert (right["status"], json.loads(wrong)["status"]) == ("no_context", "answered")


def is_strict(text: str) -> bool:
    """Whether `text` is one JSON object of the form that the system prompt asks for."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return list(found) == ["status", "answer", "citations"] and isinstance(found["citations"], list)


def test_all_of_it_is_read_with_the_one_system_text(
    held_out: list[dict[str, Any]], pairs: list[dict[str, Any]]
) -> None:
    system = (ACME / "system.txt").read_text(encoding="utf-8").strip()
    assert {Structured().parse(row).messages[0].content for row in held_out} == {system}
    assert {Preference().parse(row).prompt[0].content for row in pairs} == {system}


def test_training_held_out_and_preference_questions_are_all_different(
    held_out: list[dict[str, Any]], pairs: list[dict[str, Any]]
) -> None:
    asked = [plain(row["input"]["user"]) for row in [*lines("sft.jsonl"), *held_out]]
    asked += [plain(shown_in(row["input"]["messages"][-1]["content"])[1]) for row in pairs]
    assert [question for question, count in Counter(asked).items() if count > 1] == []
