"""Prompts to be answered: how they are read, what graders will see of them, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunesmith.errors import DataError
from tunesmith.prepare.formats.prompts import Prompts

USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("row", "roles"),
    [
        ({"prompt": "q"}, ["user"]),
        ({"prompt": [USER]}, ["user"]),
        ({"messages": [USER, ANSWER, USER]}, ["user", "assistant", "user"]),
        ({"prompt": "q", "system": "s"}, ["system", "user"]),
        ({"prompt": "\n\nHuman: q\n\nAssistant: a\n\nHuman: more\n\nAssistant:"}, ["user", "assistant", "user"]),
    ],
)
def test_every_form_of_a_prompt(row: dict[str, Any], roles: list[str]) -> None:
    read = Prompts().parse(row)
    assert [message.role for message in read.messages] == roles
    assert read.shape == "prompt"
    assert read.reference == ""


def test_all_other_fields_keep_their_kind_for_graders() -> None:
    read = Prompts().parse({"prompt": "q", "reference": "42", "n": 42, "nested": {"list": [1, "1"]}, "none": None})
    assert json.loads(read.metadata["item"]) == {
        "reference": "42",
        "n": 42,
        "nested": {"list": [1, "1"]},
        "none": None,
    }
    assert read.conversations[0].reference == "42"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [USER, ANSWER]}, "messages: ends with an assistant's answer"),
        ({"prompt": ""}, "prompt: is empty"),
        ({"prompt": "q", "reference": 3}, "reference: must be a text"),
        ({"messages": [USER, USER]}, r"messages\[1\]"),
        ({}, "prompt: must be a text or a list of messages, is missing"),
    ],
)
def test_what_is_no_prompt(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Prompts().parse(row)


def test_prompts_are_found_and_prepared(run: Any) -> None:
    stored = run({"p.jsonl": '{"prompt": "q one", "n": 1}\n{"prompt": "q two", "n": 2}\n'})
    assert stored.manifest.shape == "prompt"
    assert stored.manifest.sources[0].format == "prompts (jsonl)"
    assert [json.loads(example.content.metadata["item"])["n"] for example in stored.examples("train")] == [1, 2]


def test_messages_without_an_answer_are_prompts_when_the_recipe_says_so(run: Any) -> None:
    line = json.dumps({"messages": [USER], "n": 1}) + "\n"
    stored = run({"p.jsonl": line}, sources=[{"path": "p.jsonl", "format": "prompts"}])
    assert stored.manifest.shape == "prompt"
