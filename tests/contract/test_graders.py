"""What every grader promises, found by listing the folder."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import NotFound, RecipeError
from tunesmith.grade.grader import FOLDER, Answered, Grade, Grader, Sample, load_grader
from tunesmith.grade.judge import Judgement

ASKED = {"model": "judge", "input": [{"role": "user", "content": "Good? {{sample.output_text}} ({{item.expected}})"}]}
EXAMPLES: dict[str, dict[str, Any]] = {
    "string_check": {"reference": "{{item.expected}}"},
    "text_similarity": {"reference": "{{item.expected}}", "evaluation_metric": "fuzzy_match"},
    "json_schema": {"json_schema": {"const": "{{}}"}, "input": '"{{item.expected}}"'},
    "python": {"source": "def grade(sample, item):\n    return sample['output_text'] == item['expected']"},
    "score_model": ASKED,
    "label_model": {**ASKED, "labels": ["good", "bad"], "passing_labels": ["good"]},
    "reward_model": {"adapter": "a-folder", "input": "{{item.expected}}"},
    "multi": {
        "graders": {"same": {"type": "string_check", "reference": "{{item.expected}}"}},
        "calculate_output": "2 * same",
    },
}
NAMES = plugins.names(FOLDER)
ANSWERS = [Answered(Sample(output_text=text), {"expected": "paid"}) for text in ("paid", "", "late\ud7ff")]


class Generous:
    """A judge that answers what either model grader can read."""

    async def ask(self, model: str, messages: Any, options: Any) -> Judgement:
        kind = options["response_format"]["json_schema"]["name"]
        return Judgement('{"result": 1}' if kind == "grade" else '{"result": "good"}', None, 7)

    async def embed(self, model: str, texts: Any) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]


def test_every_grader_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_frozen_value_that_round_trips_and_refuses_other_options(name: str) -> None:
    grader = load_grader({"type": name, "name": "mine", **EXAMPLES[name]})
    assert isinstance(grader, Grader)
    assert type(grader).model_validate_json(grader.model_dump_json()) == grader
    assert load_grader({"name": name, **EXAMPLES[name]}) == grader
    with pytest.raises(ValidationError):
        setattr(grader, next(iter(type(grader).model_fields)), None)
    with pytest.raises(RecipeError, match="no_such_option"):
        load_grader({"type": name, **EXAMPLES[name], "no_such_option": 1})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "reward_model"])  # needs a trained model
def test_it_grades_in_order_finitely_and_again_the_same(name: str) -> None:
    grader = load_grader({"type": name, **EXAMPLES[name]})
    first, again = (asyncio.run(grader.grade(ANSWERS, Generous())) for _ in range(2))
    assert first == again
    assert len(first) == len(ANSWERS)
    assert all(grade.score is not None and grade.error is None for grade in first)
    assert first[0].score in (0.0, 1.0, 2.0)
    assert asyncio.run(grader.grade([], Generous())) == []
    assert all(Grade.model_validate_json(grade.model_dump_json()) == grade for grade in first)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "python"])
def test_a_row_without_the_field_is_unscored_and_says_which(name: str) -> None:
    grader = load_grader({"type": name, **EXAMPLES[name]})
    (grade,) = asyncio.run(grader.grade([Answered(Sample(output_text="paid"), {"other": 1})], Generous()))
    assert (grade.score, grade.error) == (None, "invalid_variable_error")
    assert "item.expected" in grade.detail
    assert "there are: other" in grade.detail


def test_unknown_and_missing_kinds() -> None:
    with pytest.raises(NotFound, match="There is no grader 'strin_check'") as caught:
        load_grader({"type": "strin_check"})
    assert "Did you mean 'string_check'" in str(caught.value)
    with pytest.raises(RecipeError, match="type: is missing -> allowed: json_schema, label_model"):
        load_grader({"reference": "x"})
