"""Multiple choice and preference pairs: by log-likelihood and by what is written."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.errors import RecipeError
from tunesmith.evaluate.item import read_item
from tunesmith.evaluate.scoring import score
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction

CITIES = ["Rome", "Paris", "Oslo"]


def row(answer: str = "", **fields: Any) -> Prediction:
    base = {"example_id": "x", "label": None, "tokens": 1, "seconds": 0.1, "first_token_seconds": 0.1}
    expect = {"letter": "B", "choices": CITIES}
    given = {"reference": "B", "options": ("A", "B", "C"), "expect": expect, "finish_reason": "stop", **fields}
    return Prediction.model_validate({**base, "answer": answer, **given})


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        *((text, 1.0) for text in ("B", "b", "(B)", "B.", "B) Paris", "**B**", "Paris", "paris.", "The answer is B.")),
        *((text, 1.0) for text in ("Answer: B", "The correct option is (B), since", "I think so. Answer: **B**")),
        *(
            (text, 1.0)
            for text in ("Of the options, the answer is B", "The answer I see is option B", "the answer is b")
        ),
        *((text, 0.0) for text in ("A", "Because", "C or B", "A bear", "", "D", "It is Paris or Rome", "Oslo")),
    ],
)
def test_the_letter_that_is_written(answer: str, right: float) -> None:
    assert score("multiple_choice_accuracy", [row(answer)], (), 0.95).value == right


def test_an_article_is_no_letter() -> None:
    """'the answer is a bear' names no option, and so not option A either."""
    rights = {"the answer is a bear": 0.0, "the answer is a": 1.0, "The answer is A": 1.0, "answer: a, surely": 1.0}
    rows = [row(answer, reference="A") for answer in rights]
    assert [score("multiple_choice_accuracy", [each], (), 0.95).value for each in rows] == [*rights.values()]


def test_log_likelihood_goes_before_the_letter() -> None:
    rows = [
        row("A", option_logprobs=(-2.0, -1.0, -3.0)),
        row("B", option_logprobs=(-1.0, -2.0, -3.0)),
        row("B", reference="Paris", options=tuple(CITIES), option_logprobs=(-9.0, -8.0, -9.5)),
        row("B", options=(), reference="B"),
        row("Paris", reference="Paris", options=tuple(CITIES)),
    ]
    found = score("multiple_choice_accuracy", rows, (), 0.95)
    assert (found.value, found.n, found.unscored) == (3 / 4, 4, 1)
    by = [MetricSpec.model_validate({"name": "multiple_choice_accuracy", "by": by}) for by in ("logprob", "answer")]
    assert [score(spec, rows, (), 0.95).value for spec in by] == [pytest.approx(2 / 3), pytest.approx(3 / 4)]


@pytest.mark.parametrize("answer", ["B", "b", 1, "1"])
def test_a_multiple_choice_item_lists_its_options(answer: Any) -> None:
    item, _ = read_item({"type": "multiple_choice", "question": "Capital?", "options": CITIES, "answer": answer}, "x")
    assert item.messages[-1].content is not None
    assert item.messages[-1].content.startswith("Capital?\nA. Rome\nB. Paris\nC. Oslo\n\nAnswer with the letter")
    assert (item.reference, item.options, item.expect["letter"]) == ("B", ("A", "B", "C"), "B")


def test_a_multiple_choice_item_by_text_asks_the_question_alone() -> None:
    written: dict[str, Any] = {"type": "multiple_choice", "question": "Capital?", "options": CITIES, "answer": 1}
    item, _ = read_item({**written, "score": "text"}, "x")
    assert item.messages[-1].content == "Capital?"
    assert (item.reference, item.options) == ("Paris", tuple(CITIES))


@pytest.mark.parametrize("answer", ["D", 3, -1, "", "AB"])
def test_an_answer_that_is_no_option_is_refused(answer: Any) -> None:
    with pytest.raises(RecipeError, match="write A to C, or 0 to 2"):
        read_item({"type": "multiple_choice", "question": "?", "options": CITIES, "answer": answer}, "x")


def test_preference_pairs_by_hand() -> None:
    def pair(chosen: float, rejected: float) -> Prediction:
        return row(options=("a long chosen answer", "no"), reference="a long chosen answer",
                   option_logprobs=(chosen, rejected), expect={"rejected": "no"})  # fmt: skip

    rows = [pair(-3.0, -4.0), pair(-5.0, -2.0), pair(-2.0, -2.0), row(options=("a", "b"), reference="a")]
    assert score("multiple_choice_accuracy", rows[:3], (), 0.95).unscored == 3
    found = score("preference_accuracy", rows, (), 0.95)
    assert (found.value, found.unscored) == (pytest.approx(1 / 3), 1)
    even = MetricSpec.model_validate({"name": "preference_accuracy", "per_character": True})
    assert score(even, rows, (), 0.95).value == 1.0  # -5 / 20 > -2 / 2


def test_pairs_and_choices_of_one_suite_are_not_each_other_s() -> None:
    written: list[dict[str, Any]] = [
        {"type": "multiple_choice", "question": "?", "options": ["yes", "no"], "answer": "A", "score": "text"},
        {"type": "preference", "question": "?", "chosen": "yes", "rejected": "no"},
    ]
    items = [read_item(each, "x")[0] for each in written]
    rows = [
        row(options=each.options, reference=each.reference, expect=each.expect, option_logprobs=logprobs, answer="yes")
        for each, logprobs in zip(items, [(-2.0, -1.0), (-1.0, -2.0)], strict=True)
    ]
    found = {
        name: score(name, rows, (), 0.95)
        for name in ("preference_accuracy", "multiple_choice_accuracy", "option_accuracy", "valid_answer_rate", "ece")
    }
    assert {name: (each.n, each.unscored) for name, each in found.items()} == dict.fromkeys(found, (1, 1))
    assert (found["preference_accuracy"].value, found["option_accuracy"].value) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"type": "classification", "question": "?", "label": "cord", "labels": ["card"]}, "did you mean 'card'"),
        ({"type": "extraction", "question": "?"}, "write `fields`, `json_schema`, or both"),
        ({"type": "extraction", "question": "?", "fields": {}, "json_schema": {"required": ["a"]}}, "does not fit"),
        ({"type": "extraction", "question": "?", "json_schema": {"type": "nonsense"}}, "no JSON Schema"),
        (
            {"type": "grounded_qa", "question": "?", "contexts": {"doc1": "x"}, "citations": ["doc2"]},
            "no context 'doc2'",
        ),
        ({"type": "grounded_qa", "question": "?", "unanswerable": True, "answer": "x"}, "there is no answer"),
        ({"type": "instruction", "question": "?", "constraints": ["lower"]}, "did you mean 'lowercase'"),
        ({"type": "tool_call", "question": "?", "calls": []}, "at least one"),
        (
            {"type": "tool_call", "question": "?", "tools": [{"name": "find"}], "calls": [{"name": "fnd"}]},
            "mean 'find'",
        ),
        ({"type": "code", "question": "?", "tests": ["assert ("]}, "is not Python"),
        ({"type": "code", "question": "?", "tests": []}, "at least 1"),
        ({"type": "multi_turn", "turns": ["one"]}, "at least 2"),
        ({"type": "multi_turn", "turns": ["one", "two"], "question": "?"}, "write the user's messages as `turns`"),
        ({"type": "preference", "question": "?", "chosen": "a", "rejected": "a"}, "are the same"),
        ({"type": "refusal", "question": "?", "expect": "deny"}, "refuse"),
    ],
)
def test_items_that_cannot_be_used_say_why(written: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_item(written, "suite.yaml: items.0")
    assert message in str(caught.value)


def test_what_items_come_to() -> None:
    grounded, _ = read_item(
        {"type": "grounded_qa", "question": "When?", "contexts": {"7": "At nine."}, "unanswerable": True}, ""
    )
    assert grounded.messages[-1].content == "[7] At nine.\n\nWhen?"
    assert (grounded.expect["refusal"], grounded.expect["citations"]) == ("refuse", [])
    tool = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}}
    call = {"name": "f", "arguments": {"city": "NYC"}, "others": {"city": ["New York"]}, "optional": ["unit"]}
    called, _ = read_item(
        {"type": "tool_call", "question": "?", "tools": [{"name": "f", "parameters": tool}], "calls": [call]}, ""
    )
    assert called.tools == ({"type": "function", "function": {"name": "f", "parameters": tool}},)
    assert called.expect["calls"] == [{"name": "f", "arguments": {"city": ["NYC", "New York"]}, "optional": ["unit"]}]
    turns, _ = read_item({"type": "multi_turn", "turns": ["one", "two", "three"]}, "")
    assert (turns.messages[-1].content, turns.followups) == ("one", ("two", "three"))
