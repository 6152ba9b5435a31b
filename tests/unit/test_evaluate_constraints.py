"""Each constraint by hand, its table, and IFEval's ids. Counting was compared once with IFEval's own program."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.constraints.ifeval import INSTRUCTIONS, constraint_of
from tunesmith.evaluate.constraints.table import CHECKS, follows, named_constraints
from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.scoring import score
from tunesmith.evaluate.sentences import sentences
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction

GERMAN = "Die Katze sitzt auf der Matte und schläft den ganzen Tag in der Sonne."
ENGLISH = "the cat sits on the mat and sleeps all day long in the warm sun."


@pytest.mark.parametrize(
    ("name", "options", "kept", "broken"),
    [
        ("words", {"at_least": 2, "at_most": 3}, "one two three", "one"),
        ("words", {"exactly": 4}, "it's 3.5", "it's 3"),  # it, s, 3, 5
        ("sentences", {"exactly": 2}, "Dr. Who paid 3.5 euros. Really?", "Yes. No. Perhaps."),
        ("paragraphs", {"exactly": 2}, "a\n\nb", "a\nb"),
        ("paragraphs", {"exactly": 2, "mark": "***"}, "a *** b", "a *** *** b"),
        ("paragraph_start", {"number": 2, "word": "then", "paragraphs": 2}, "First.\n\nThen, b", "First.\n\nThe b"),
        ("bullets", {"exactly": 2}, "* a\n- b", "* a\n** b"),
        ("highlights", {"at_least": 2}, "*a* and **b**", "**b**"),
        ("sections", {"at_least": 2, "mark": "SECTION"}, "SECTION 1 a SECTION 2", "Section 1 Section 2"),
        ("placeholders", {"at_least": 1}, "Dear [name]", "Dear name"),
        ("capital_words", {"at_most": 1}, "STOP now", "STOP NOW"),
        ("keyword_count", {"word": "cat", "at_least": 2}, "Cat, concatenate", "cat"),
        ("letter_count", {"letter": "E", "at_most": 1}, "hen", "egg elk"),
        ("keywords", {"words": ["Fox", "dog"]}, "the dog and the fox", "the fox"),
        ("forbidden_words", {"words": ["cat"]}, "concatenate", "a CAT."),
        ("contains_one_of", {"options": ["yes.", "no."]}, "I say yes.", "Yes"),
        ("starts_with", {"text_at_start": "Dear"}, " dear Ann", "Hi, dear"),
        ("ends_with", {"text_at_end": "Peace!"}, '"... peace!"', "Peace! Bye"),
        ("repeats_prompt", {"prompt": "Say hi."}, "say hi. Hi", "Hi. Say hi."),
        ("quotation", {}, ' "a" ', '"a'),
        ("no_commas", {}, "a b", "a, b"),
        ("uppercase", {}, "A B1", "A b"),
        ("lowercase", {"language": "en"}, ENGLISH, GERMAN.lower()),
        ("language", {"code": "de"}, GERMAN, ENGLISH),
        ("title", {}, "<<Joy>>\ntext", "<< >>"),
        ("postscript", {}, "Bye\np. s. more", "Bye"),
        ("json", {}, '```json\n{"a": 1}\n```', '{"a": 1} ok'),
        ("two_responses", {}, "a******b", "a******a"),
    ],
)
def test_each_constraint_by_hand(name: str, options: dict[str, Any], kept: str, broken: str) -> None:
    assert follows(kept, {"name": name, **options})
    assert not follows(broken, {"name": name, **options})
    assert not follows("", {"name": name, **options})


def test_all_of_them_were_tried() -> None:
    (parameters,) = (mark for mark in test_each_constraint_by_hand.pytestmark if mark.name == "parametrize")
    assert {case[0] for case in parameters.args[1]} == set(CHECKS)


def test_loose_forgives_a_first_line_a_last_line_and_asterisks() -> None:
    spec = {"name": "quotation"}
    answer = 'Sure:\n**"hello"**\nAnything else?'
    assert not follows(answer, spec)
    assert follows(answer, spec, loose=True)
    assert not follows("Sure:\nhello\nBye", spec, loose=True)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["word"], "did you mean 'words'"),
        ([{"name": "words"}], "at_least, at_most or exactly"),
        ([{"name": "words", "at_leest": 1}], "at_leest"),
        ([{"name": "language", "code": "xx"}], "no language"),
        ([{"name": "keywords", "words": []}], "at least one"),
        ([{"name": "letter_count", "letter": "ab", "exactly": 1}], "one character"),
        ([3], "is a name or a mapping"),
    ],
)
def test_what_is_no_constraint_is_refused(written: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_constraints(written)


def test_a_short_text_s_language_cannot_be_told() -> None:
    assert follows("Ja.", {"name": "language", "code": "sw"})


@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_every_instruction_of_ifeval_makes_a_constraint(instruction: str) -> None:
    every = {
        "keywords": ["a"], "keyword": "a", "frequency": 2, "relation": "at least", "forbidden_words": ["b"],
        "letter": "c", "let_frequency": 1, "let_relation": "less than", "language": "de", "num_sentences": 3,
        "num_paragraphs": 2, "num_words": 9, "nth_paragraph": 1, "first_word": "so", "num_placeholders": 1,
        "postscript_marker": "P.S.", "num_bullets": 3, "num_highlights": 1, "section_spliter": "Section",
        "num_sections": 2, "prompt_to_repeat": "hi", "end_phrase": "bye", "capital_frequency": 1,
        "capital_relation": "at least", "unused": None,
    }  # fmt: skip
    named_constraints([constraint_of(instruction, every)])


def test_relations_of_ifeval() -> None:
    frequency = {"keyword": "a", "frequency": 3}
    less = constraint_of("keywords:frequency", {**frequency, "relation": "less than"})
    assert less == {"name": "keyword_count", "word": "a", "at_most": 2}
    with pytest.raises(ValueError, match="argument relation is missing"):
        constraint_of("keywords:frequency", frequency)
    with pytest.raises(ValueError, match="no instruction of IFEval"):
        constraint_of("keywords:frequent", {})


def row(answer: str, *constraints: Any) -> Prediction:
    expect = {"constraints": list(constraints)} if constraints else {}
    return Prediction(
        example_id="x", reference="", answer=answer, label=None, tokens=1, seconds=0.1, first_token_seconds=0.1,
        finish_reason="stop", expect=expect,
    )  # fmt: skip


def test_the_metric_counts_instructions_or_answers() -> None:
    two = ("lowercase", {"name": "words", "at_most": 1})
    rows = [row("one two", *two), row("one", *two[:1]), row("no constraints here")]
    by_instruction, by_answer = score("constraints", rows, (), 0.95), None
    assert by_instruction.value == pytest.approx(2 / 3)
    assert (by_instruction.n, by_instruction.unscored) == (2, 1)
    by_answer = score(MetricSpec.model_validate({"name": "constraints", "level": "answer"}), rows, (), 0.95)
    assert by_answer.value == pytest.approx(1 / 2)


def test_a_row_with_what_is_no_constraint_stops_the_evaluation() -> None:
    with pytest.raises(EvaluationError, match="item x cannot be judged"):
        load_metric("constraints").terms([row("a", "lower")], ())


def test_sentences_by_hand() -> None:
    text = 'Mr. J. Smith paid $3.50, e.g. in May. "Why?" he asked.\n- one item\n- two items\n\nEnd without a stop'
    assert sentences(text) == [
        "Mr. J. Smith paid $3.50, e.g. in May.", '"Why?"', "he asked.", "one item", "two items", "End without a stop",
    ]  # fmt: skip
    assert sentences("今日は雨。明日は晴れ。") == ["今日は雨。", "明日は晴れ。"]
    assert sentences("  \n") == []
