"""Preferences and judged answers: how their rows are read, what is a duplicate, what a dataset of them holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunesmith import plugins
from tunesmith.errors import DataError
from tunesmith.prepare.detect import FOLDER
from tunesmith.types.preference import Labelled, Preference

USER, GOOD, BAD = (
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "good"},
    {"role": "assistant", "content": "bad"},
)
HUMAN = "\n\nHuman: q\n\nAssistant: first\n\nHuman: more\n\nAssistant:"


def parse(name: str, **row: Any) -> Any:
    return plugins.load(FOLDER, name)().parse(row)  # type: ignore[attr-defined]


def said(messages: Any) -> list[tuple[str, str | None]]:
    return [(message.role, message.content) for message in messages]


@pytest.mark.parametrize(
    "row",
    [
        {"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "q", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "q", "chosen": GOOD, "rejected": BAD},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
        {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " good".strip(), "rejected": "bad"},
    ],
    ids=["openai", "texts", "messages", "prompt repeated", "one message", "transcripts", "hh", "hh prompt"],
)
def test_a_pair_in_every_form(row: dict[str, Any]) -> None:
    pair = parse("preference", **row)
    assert isinstance(pair, Preference)
    assert said(pair.prompt) == [("user", "q")]
    assert said(pair.chosen) == [("assistant", "good")]
    assert said(pair.rejected) == [("assistant", "bad")]
    assert plugins.load(FOLDER, "preference")().score(row) == 1.0  # type: ignore[attr-defined]


def test_the_shared_prefix_of_transcripts_is_the_prompt_and_is_not_trained() -> None:
    pair = parse("preference", chosen=HUMAN + " good", rejected=HUMAN + " bad", margin=2)
    assert said(pair.prompt) == [("user", "q"), ("assistant", "first"), ("user", "more")]
    assert pair.margin == 2.0
    chosen, rejected = pair.conversations
    assert [message.weight for message in chosen.messages] == [None, 0, None, None]
    assert chosen.reference == "good"
    assert rejected.reference == "bad"


def test_a_system_message_is_put_in_front_and_may_be_missing_in_transcripts() -> None:
    system = {"role": "system", "content": "s"}
    pair = parse("preference", prompt=[system, USER], chosen=[USER, GOOD], rejected=[system, USER, BAD])
    assert (said(pair.prompt)[0], said(pair.rejected)) == (("system", "s"), [("assistant", "bad")])
    assert said(parse("preference", prompt="q", chosen="a", rejected="b", system="s").prompt)[0] == ("system", "s")


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen", "and rejected are the same"),
        ({"chosen": [USER, GOOD], "rejected": [USER, GOOD]}, "chosen", "and rejected are the same"),
        ({"chosen": [USER, GOOD], "rejected": [{"role": "user", "content": "z"}, BAD]}, "chosen", "part before"),
        ({"chosen": "a", "rejected": "b"}, "prompt", "is missing"),
        ({"prompt": "z", "chosen": [USER, GOOD], "rejected": "b"}, "chosen", "does not begin with prompt"),
        ({"prompt": "q", "chosen": HUMAN, "rejected": "b"}, "chosen", "ends before the answer"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "margin": "big"}, "margin", "must be a number"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "margin": float("nan")}, "margin", "must be a number"),
        ({"prompt": [USER], "chosen": [GOOD, USER], "rejected": [BAD]}, "chosen[1]", "ends with a user message"),
        ({"prompt": [USER, GOOD], "chosen": [GOOD], "rejected": [BAD]}, "chosen[0]", "two assistant messages"),
        ({"preferred_output": [GOOD], "non_preferred_output": [BAD]}, "input", "must hold messages"),
        (
            {"input": {"messages": [GOOD]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
            "input.messages[0]",
            "starts with the assistant",
        ),
    ],
)
def test_what_is_wrong_with_a_pair_is_named_by_its_field(row: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse("preference", **row)
    problems = caught.value.problems
    assert any(problem.field == field and message in problem.message and problem.fix for problem in problems), problems


@pytest.mark.parametrize("label", [True, "true", 1, "1"])
def test_a_judged_answer(label: object) -> None:
    row = parse("kto", prompt="q", completion="a", label=label)
    assert isinstance(row, Labelled)
    assert row.label is True
    assert parse("kto", prompt=[USER], completion=[GOOD], label=False).label is False


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({"label": "maybe"}, "label", "must be true or false, is 'maybe'"),
        ({"label": 2}, "label", "must be true or false"),
        ({"completion": [USER, GOOD]}, "completion", "is a whole conversation"),
    ],
)
def test_what_is_wrong_with_a_judged_answer(row: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse("kto", **{"prompt": "q", "completion": "a", "label": True, **row})
    assert [(problem.field, message in problem.message) for problem in caught.value.problems] == [(field, True)]


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_a_dataset_of_pairs(run: Any, renderer: Any) -> None:
    rows = [pair("p q", "a b", "c"), pair("p q", "A  b", "c"), pair("p q", "c", "a b"), pair("p q", "a b", "d")]
    dataset = run({"pairs.jsonl": lines(*rows)}, system="be brief")
    manifest = dataset.manifest
    assert manifest.shape == "preference"
    assert manifest.sources[0].format == "preference (jsonl)"
    assert {drop.reason: drop.rows for drop in manifest.ledger.drops} == {"duplicate": 1, "conflicting_answer": 1}
    first, second = dataset.examples("train")
    assert said(first.content.prompt)[0] == ("system", "be brief")
    assert (first.conversation.reference, second.content.rejected[0].content) == ("a b", "d")
    statistics = manifest.splits["train"]
    # be brief + p q + a b, be brief + p q + c, and the same for the pair with d
    assert (statistics.tokens, statistics.trained_tokens, statistics.longest) == (6 + 5 + 6 + 5, 2 + 1 + 2 + 1, 6)
    assert manifest.labels == ()
    assert len(renderer.proven) == 4


def test_a_prompt_of_the_test_split_is_not_trained(run: Any) -> None:
    files = {"train.jsonl": lines(pair("p", "a", "b"), pair("q", "a", "b")), "test.jsonl": lines(pair("p", "c", "d"))}
    sources = [{"path": "train.jsonl", "split": "train"}, {"path": "test.jsonl", "split": "test"}]
    ledger = run(files, sources=sources).manifest.ledger
    assert {drop.reason: drop.rows for drop in ledger.drops} == {"duplicate_of_test": 1}


def test_the_longest_answer_decides_whether_a_pair_is_too_long(run: Any) -> None:
    rows = [pair("p", "a", "b " * 20), pair("q", "a", "b")]
    ledger = run({"pairs.jsonl": lines(*rows)}, max_tokens=8).manifest.ledger
    assert {drop.reason: (drop.rows, drop.tokens) for drop in ledger.drops} == {"too_long": (1, 2 + 21)}


def test_a_dataset_of_judged_answers_counts_both_kinds(run: Any) -> None:
    rows = [{"prompt": "p", "completion": text, "label": label} for text, label in (("a", True), ("b", False))]
    dataset = run({"kto.jsonl": lines(*rows, {"prompt": "p", "completion": "a", "label": False})})
    assert dataset.manifest.shape == "labelled"
    assert dataset.manifest.splits["train"].labels == {"unwanted": 1, "wanted": 1}
    assert [example.wanted for example in dataset.examples("train")] == [True, False]
    assert {drop.reason: drop.rows for drop in dataset.manifest.ledger.drops} == {"conflicting_answer": 1}


def test_one_dataset_holds_one_kind_of_rows(run: Any) -> None:
    files = {"a.jsonl": lines(pair("p", "a", "b")), "b.jsonl": lines({"prompt": "p", "completion": "a"})}
    with pytest.raises(DataError, match=r"holds conversation rows, while a\.jsonl holds preference rows"):
        run(files)
