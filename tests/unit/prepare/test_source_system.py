"""System prompts of a source: one for all its rows, or by the language or domain of each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith.errors import DataError
from tunesmith.types.recipe import PrepareSpec

ROWS = [
    {"prompt": "Wo ist sie?", "completion": "Unterwegs", "language": "de"},
    {"prompt": "Where is it?", "completion": "On its way", "language": "en", "system": "old"},
    {"prompt": "Où?", "completion": "En route", "language": "fr"},
]
PROMPTS = {"de": "Antworte kurz.", "en": "Answer briefly."}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def systems(dataset: Any) -> list[str]:
    assert all(row.conversation.messages[1].role == "user" for row in dataset.examples("train"))
    return [row.conversation.messages[0].content for row in dataset.examples("train")]


def test_by_a_field_of_the_row(run: Any) -> None:
    system = {"by": "language", "prompts": PROMPTS, "otherwise": "Be brief."}
    dataset = run({"a.jsonl": lines(*ROWS)}, sources=[{"path": "a.jsonl", "system": system}])
    assert systems(dataset) == ["Antworte kurz.", "Answer briefly.", "Be brief."]
    assert dataset.system_prompt is None


def test_one_for_each_source(run: Any) -> None:
    files = {"de.jsonl": lines(ROWS[0]), "en.jsonl": lines(ROWS[1])}
    sources = [{"path": f"{name}.jsonl", "system": PROMPTS[name]} for name in ("de", "en")]
    assert systems(run(files, sources=sources)) == ["Antworte kurz.", "Answer briefly."]


def test_a_value_without_a_prompt_is_named(run: Any) -> None:
    sources = [{"path": "a.jsonl", "system": {"by": "language", "prompts": PROMPTS}}]
    nobody = {"prompt": "q", "completion": "a"}
    with pytest.raises(DataError) as caught:
        run({"a.jsonl": lines(*ROWS, nobody)}, sources=sources)
    found = [(problem.line, problem.field, problem.message) for problem in caught.value.problems]
    assert found == [(3, "language", "'fr' has no system prompt"), (4, "language", "is missing")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"system": "all"}, "would replace that of the source"), ({}, r"filled in prepare\.system only")],
)
def test_two_system_prompts_and_labels_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PrepareSpec.model_validate({"sources": [{"path": "a", "system": "one of {labels}"}], **fields})


def test_plain_text_takes_none(run: Any) -> None:
    with pytest.raises(DataError, match="plain text takes no system prompt"):
        run({"a.txt": "Once upon a time.\n"}, sources=[{"path": "a.txt", "system": "s"}])
