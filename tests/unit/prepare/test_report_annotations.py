"""Annotators are read from the rows, their agreement counted, what they dispute listed."""

from __future__ import annotations

import json

import pytest

from tunesmith.errors import DataError
from tunesmith.prepare.report.annotations import Annotations
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.preference import Labelled


def judged(question: str, answer: str, **metadata: str) -> Conversation:
    messages = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Conversation(messages=messages, metadata=metadata)


def collected(*rows: Conversation):
    found = Annotations()
    for line, row in enumerate(rows, 1):
        found.add(row, "labels.csv", line)
    return found.agreement()


def test_rows_without_annotators_say_nothing():
    assert collected(judged("Where is my card?", "card")) is None


def test_one_row_for_each_annotator():
    """ann/ben agree on 1 of 2 (both labels used once by each: chance 0.5), so kappa is 0; cleo judged one item."""
    agreement = collected(
        judged("Where is my card?", "card", annotator="ann"),
        judged("where  is my CARD?", "card", annotator="ben"),  # the same question after normalising
        judged("Refund me", "refund", annotator="ann"),
        judged("Refund me", "card", annotator="ben"),
        judged("Refund me", "refund", annotator="cleo"),
        judged("Refund me", "card", annotator="ann"),  # ann again: not counted
    )
    assert agreement.annotators == {"ann": 2, "ben": 2, "cleo": 1}
    assert (agreement.judged_twice, agreement.repeated) == (2, 1)
    (pair, with_cleo, _) = agreement.pairs
    assert (pair.first, pair.second, pair.items, pair.equal, pair.kappa) == ("ann", "ben", 2, 0.5, 0.0)
    assert (with_cleo.first, with_cleo.second, with_cleo.equal, with_cleo.kappa) == ("ann", "cleo", 1.0, None)
    (dispute,) = agreement.disputed
    assert dispute.labels == {"ann": "refund", "ben": "card", "cleo": "refund"}
    assert (dispute.majority, dispute.places) == ("refund", ("labels.csv:3", "labels.csv:4", "labels.csv:5"))


def test_all_annotators_in_one_row_and_the_least_agreed_first():
    agreement = collected(
        judged("a", "x", annotations=json.dumps({"1": "x", "2": "x", "3": "y"})),
        judged("b", "x", annotations=json.dumps({"1": "x", "2": "y", "3": None})),
        judged("c", "x", annotations=json.dumps({"1": "x", "2": "x", "3": "x"})),
    )
    assert [(item.text, item.majority) for item in agreement.disputed] == [("b", None), ("a", "x")]
    # Coincidences: xx 1 + 3 = 4, xy and yx 1 + 1 = 2 each; n = 8, n_x = 6, n_y = 2: 1 - 7 * 4 / (2 * 6 * 2)
    assert agreement.alpha == pytest.approx(1 - 7 * 4 / 24)


def test_judged_answers_are_one_item_by_prompt_and_answer():
    rows = [
        Labelled(
            prompt=(Message(role="user", content="Joke?"),),
            completion=(Message(role="assistant", content="No."),),
            label=label,
            metadata={"annotator": name},
        )
        for name, label in (("ann", True), ("ben", False))
    ]
    agreement = collected(*rows)
    assert agreement.disputed[0].labels == {"ann": "wanted", "ben": "unwanted"}


def test_annotations_of_another_kind_are_named_by_place():
    with pytest.raises(DataError) as caught:
        collected(judged("a", "x", annotations="[1]"))
    assert str(caught.value.problems[0]).startswith("labels.csv:1: annotations: is no object")
