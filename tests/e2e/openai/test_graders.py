"""Graders are validated and run through the official client as OpenAI spells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning.alpha import GraderRunResponse

STRING_CHECK = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
SIMILAR = {**STRING_CHECK, "type": "text_similarity", "name": "close", "evaluation_metric": "fuzzy_match"}
del SIMILAR["operation"]
PYTHON = {
    "type": "python",
    "name": "length",
    "source": "def grade(sample, item):\n    return len(sample['output_text']) / item['longest']\n",
    "image_tag": "2025-05-08",
}
ASK = [{"role": "user", "content": "Rate {{sample.output_text}}"}]
SCORE = {"type": "score_model", "name": "judge", "model": "base", "input": ASK, "range": [0, 1]}
LABEL = {
    "type": "label_model",
    "name": "tone",
    "model": "base",
    "input": [{"role": "user", "content": {"type": "input_text", "text": "{{sample.output_text}}"}}],
    "labels": ["good", "bad"],
    "passing_labels": ["good"],
}


def multi(graders: Any, formula: str = "0.5 * exact + close") -> dict[str, Any]:
    return {"type": "multi", "name": "both", "calculate_output": formula, "graders": graders}


def run(client: openai.OpenAI, grader: Any, sample: str, **item: Any) -> GraderRunResponse:
    return client.fine_tuning.alpha.graders.run(grader=grader, model_sample=sample, item=item)


def flags(answer: GraderRunResponse) -> set[str]:
    """The errors that are set, by the names of the answer's JSON."""
    raw = answer.metadata.errors.model_dump(by_alias=True)
    assert len(raw) == 14  # the eleven flags and three details, every one present
    return {name for name, value in raw.items() if value is True}


@pytest.mark.parametrize("grader", [STRING_CHECK, SIMILAR, PYTHON, SCORE, multi([STRING_CHECK, SIMILAR])])
def test_a_valid_grader_comes_back_as_it_was(client: openai.OpenAI, grader: Any) -> None:
    answer = client.fine_tuning.alpha.graders.validate(grader=grader)
    assert answer.grader is not None
    assert answer.grader.to_dict() == grader


@pytest.mark.parametrize(
    ("grader", "message"),
    [
        ({"type": "nonsense", "name": "x"}, "type must be string_check, text_similarity, python"),
        ({**STRING_CHECK, "operation": "is"}, "'grader.operation'"),
        ({**STRING_CHECK, "surplus": 1}, "Unrecognized request argument supplied: grader.surplus"),
        ({**STRING_CHECK, "input": "{{itm.x}}"}, "is no placeholder"),
        ({**PYTHON, "source": "def evaluate(sample, item): return 1"}, "defines no function grade"),
        ({**SCORE, "base_url": "http://169.254.169.254"}, "Unrecognized request argument supplied: grader.base_url"),
        ({**LABEL, "passing_labels": ["goood"]}, "did you mean 'good'"),
        (multi({"exact": STRING_CHECK, "close": SIMILAR}, "exact +"), "is not a formula"),
        (multi({"exact": STRING_CHECK}, "exact + other"), r"calculate_output names \['other'\]"),
        (multi({"exact": multi([STRING_CHECK])}, "exact"), "not inside of another"),
        (multi([{**STRING_CHECK}, {**STRING_CHECK}], "exact"), "a name of its own"),
        ({"type": "reward_model", "name": "x", "adapter": "/etc"}, "type must be"),
    ],
)
def test_an_invalid_grader_is_refused_by_both_calls(client: openai.OpenAI, grader: Any, message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message) as validated:
        client.fine_tuning.alpha.graders.validate(grader=grader)
    assert str(validated.value.param).startswith("grader")
    with pytest.raises(openai.BadRequestError, match=message):
        run(client, grader, "x")


def test_scores_by_hand(client: openai.OpenAI) -> None:
    assert run(client, STRING_CHECK, "paid", answer="paid").reward == 1.0
    assert run(client, STRING_CHECK, "paid", answer="late").reward == 0.0
    # "ab" against "b": indel distance 1 of 3 characters
    assert run(client, SIMILAR, "ab", answer="b").reward == pytest.approx(2 / 3)
    found = run(client, PYTHON, "four", longest=8)
    assert (found.reward, found.metadata.type, found.metadata.name) == (0.5, "python", "length")
    assert found.metadata.execution_time > 0
    assert found.metadata.token_usage is None
    assert flags(found) == set()


@pytest.mark.parametrize(
    ("graders", "formula"),
    [
        ({"exact": STRING_CHECK, "close": SIMILAR}, "0.5 * exact + close"),
        ([STRING_CHECK, SIMILAR], "0.5 * exact + close"),
        (STRING_CHECK, "1.5 * exact"),
    ],
)
def test_multi_takes_a_map_a_list_or_one(client: openai.OpenAI, graders: Any, formula: str) -> None:
    answer = run(client, multi(graders, formula), "paid", answer="paid")
    assert answer.reward == pytest.approx(1.5)
    assert answer.sub_rewards["exact"] == 1.0
    assert answer.metadata.scores == answer.sub_rewards


def test_cosine_compares_embeddings_of_the_base(client: openai.OpenAI) -> None:
    cosine = {**SIMILAR, "evaluation_metric": "cosine"}
    assert run(client, cosine, "paid", answer="paid").reward == pytest.approx(1.0, abs=1e-3)
    assert 0 <= run(client, cosine, "completely different", answer="paid").reward < 0.9999


@pytest.mark.parametrize(
    ("grader", "sample", "error"),
    [
        (STRING_CHECK, "x", "invalid_variable_error"),
        ({**STRING_CHECK, "input": "{{sample.output_json.k}}", "reference": "1"}, "no JSON", "sample_parse_error"),
        ({**PYTHON, "source": "def grade(sample, item):\n    return 1 / 0\n"}, "x", "python_grader_runtime_error"),
        (multi({"exact": {**STRING_CHECK, "reference": "x"}}, "1 / exact"), "y", "formula_parse_error"),
        ({**SCORE, "model": "nobody"}, "x", "model_grader_server_error"),
    ],
)
def test_what_cannot_be_scored_says_which_error(client: openai.OpenAI, grader: Any, sample: str, error: str) -> None:
    answer = run(client, grader, sample)
    assert answer.reward == 0.0
    assert flags(answer) == {error}
    assert answer.metadata.to_dict()["error_details"]


def test_a_model_of_this_server_judges_in_the_form_it_is_held_to(client: openai.OpenAI) -> None:
    answer = run(client, LABEL, "Thank you so much")  # the tiny model says anything, but only a label gets out
    assert flags(answer) == set()
    assert answer.reward in (0.0, 1.0)
    assert (answer.metadata.type, answer.metadata.sampled_model_name) == ("label_model", "base")
    assert answer.metadata.token_usage
    assert answer.to_dict()["model_grader_token_usage_per_model"] == {"base": answer.metadata.token_usage}


def test_details_of_python_and_of_the_judges_server(client: openai.OpenAI) -> None:
    broken = run(client, {**PYTHON, "source": "def grade(sample, item):\n    return 1 / 0\n"}, "x")
    assert "ZeroDivisionError" in str(broken.metadata.errors.python_grader_runtime_error_details)
    unknown = run(client, {**SCORE, "model": "nobody"}, "x")
    assert "'nobody' does not exist" in str(unknown.metadata.errors.api_model_grader_server_error_details)


def test_python_sees_neither_the_servers_files_nor_its_environment(client: openai.OpenAI, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    source = f"""
import os
def grade(sample, item):
    if any(name.startswith(("TUNESMITH", "OPENAI")) for name in os.environ):
        return 2.0
    try:
        open({str(secret)!r})
    except OSError:
        return 1.0
    return 3.0
"""
    assert run(client, {**PYTHON, "source": source}, "x").reward == 1.0


def test_a_judge_cannot_leave_the_range(client: openai.OpenAI) -> None:
    """The tiny model writes noise, so only the form keeps its numbers inside; a cut-off answer has none."""
    params = {"temperature": 1.0, "max_completions_tokens": 200}
    graders: Any = [{**SCORE, "range": [2, 5], "sampling_params": {**params, "seed": seed}} for seed in range(8)]
    answers = [run(client, grader, "x") for grader in graders]
    scored = [answer.reward for answer in answers if not flags(answer)]
    assert len(scored) >= 4
    assert all(2 <= score <= 5 for score in scored)
    assert all(flags(answer) <= {"truncated_observation_error"} for answer in answers)
