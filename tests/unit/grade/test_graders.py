"""Each grader by hand or against the library that defines it, and the options each one refuses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tunesmith.errors import EvaluationError, RecipeError
from tunesmith.grade.grader import Answered, Grade, Sample, load_grader
from tunesmith.grade.judge import HttpJudge, JudgeFailed, Judgement

ASK = [{"role": "user", "content": "How good is {{sample.output_text}}?"}]


def graded(spec: dict[str, Any], text: str, item: dict[str, Any] | None = None, judge: Any = None) -> Grade:
    (grade,) = asyncio.run(load_grader(spec).grade([Answered(Sample(output_text=text), item or {})], judge))
    return grade


@pytest.mark.parametrize(
    ("operation", "reference", "score"),
    [
        *(("eq", "Yes, paid", 1), ("eq", "paid", 0), ("ne", "paid", 1), ("ne", "Yes, paid", 0)),
        *(("like", "paid", 1), ("like", "PAID", 0), ("ilike", "PAID", 1), ("ilike", "late", 0)),
    ],
)
def test_string_check_by_hand(operation: str, reference: str, score: float) -> None:
    spec = {"type": "string_check", "input": "{{sample.output_text}}", "reference": reference, "operation": operation}
    assert graded(spec, "Yes, paid").score == score


@pytest.mark.parametrize(
    ("metric", "given", "reference", "score"),
    [
        ("fuzzy_match", "abc", "abd", 4 / 6),  # 2 of 3 characters each: 1 - 2 edits / 6 characters
        ("bleu", "the cat sat on the mat", "the cat sat on the mat", 1.0),
        ("gleu", "a b", "a b c", 3 / 6),  # n-grams: 3 of the answer match, the reference has 3 + 2 + 1
        ("rouge_1", "the cat sat", "the cat", 0.8),  # precision 2/3, recall 1
        ("rouge_2", "the cat sat", "the cat", 2 / 3),  # precision 1/2, recall 1
        ("rouge_3", "a b c d", "a b c", 2 / 3),  # precision 1/2, recall 1
        ("rouge_4", "a b c d", "a b c d", 1.0),
        ("rouge_5", "a b c d", "a b c d", 0.0),
        ("rouge_l", "a x b", "a b", 0.8),  # longest common subsequence 2: precision 2/3, recall 1
        ("meteor", "paid", "paid", 0.5),  # one match in one chunk: F 1, penalty 0.5
        ("gleu", "", "a", 0.0),
        ("bleu", "", "a", 0.0),
        ("meteor", "", "a", 0.0),
    ],
)
def test_text_similarity_by_hand(metric: str, given: str, reference: str, score: float) -> None:
    spec = {"type": "text_similarity", "reference": reference, "evaluation_metric": metric}
    assert graded(spec, given).score == pytest.approx(score)


class Vectors:
    async def embed(self, model: str, texts: Any) -> list[list[float]]:
        known = {"east": [2.0, 0.0], "north-east": [1.0, 1.0], "west": [-1.0, 0.0], "void": [0.0, 0.0]}
        return [known[text] for text in texts]

    async def ask(self, model: str, messages: Any, options: Any) -> Judgement:
        raise AssertionError


@pytest.mark.parametrize(("text", "score"), [("east", 1.0), ("north-east", 0.5**0.5), ("west", 0.0), ("void", None)])
def test_cosine_by_hand(text: str, score: float | None) -> None:
    spec = {"type": "text_similarity", "reference": "east", "evaluation_metric": "cosine", "embedding_model": "e"}
    assert load_grader(spec).judges() == ("e",)
    assert graded(spec, text, judge=Vectors()).score == (None if score is None else pytest.approx(score))
    with pytest.raises(EvaluationError, match="No server was given for e"):
        graded(spec, text)


@pytest.mark.parametrize(
    ("text", "score"), [('{"status": 1}', 1), ("{}", 0), ("status", 0), ('{"status": 1} and more', 0), ("", 0)]
)
def test_json_schema_by_hand(text: str, score: float) -> None:
    spec = {"type": "json_schema", "json_schema": {"type": "object", "required": ["status"]}}
    assert graded(spec, text).score == score


class Says:
    """A judge that says one thing and remembers what it was asked."""

    def __init__(self, text: str, refusal: str | None = None) -> None:
        self.said = Judgement(text, refusal, 11)
        self.asked: list[Any] = []

    async def ask(self, model: str, messages: Any, options: Any) -> Judgement:
        self.asked.append((model, messages, options))
        return self.said

    async def embed(self, model: str, texts: Any) -> list[list[float]]:
        raise AssertionError


@pytest.mark.parametrize(
    ("said", "score"), [('{"result": 7}', 7.0), ("3.5", 3.5), (' {"result": 0, "why": "x"} ', 0.0)]
)
def test_score_model_reads_a_number(said: str, score: float) -> None:
    judge = Says(said)
    spec = {
        "type": "score_model",
        "model": "m",
        "input": ASK,
        "range": [0, 10],
        "sampling_params": {"max_completions_tokens": 9, "temperature": 0},
    }
    grade = graded(spec, "it", judge=judge)
    assert (grade.score, grade.tokens) == (score, {"m": 11})
    ((model, messages, options),) = judge.asked
    assert (model, messages) == ("m", [{"role": "user", "content": "How good is it?"}])
    assert options["max_completion_tokens"] == 9
    assert options["temperature"] == 0
    assert options["response_format"]["json_schema"]["schema"]["required"] == ["result"]


@pytest.mark.parametrize("said", ["about 7", "between 3 and 7", '{"score": 7}', '{"result": "7"}', "11", "-1", "NaN"])
def test_what_is_no_clear_number_is_unscored_never_a_middle_score(said: str) -> None:
    grade = graded({"type": "score_model", "model": "m", "input": ASK, "range": [0, 10]}, "it", judge=Says(said))
    assert (grade.score, grade.error, grade.tokens) == (None, "model_grader_parse_error", {"m": 11})


def test_an_empty_and_a_truncated_verdict_have_their_own_words() -> None:
    class Truncated(Says):
        async def ask(self, model: str, messages: Any, options: Any) -> Judgement:
            return Judgement('{"resu', None, 11, cut_off=True)

    spec = {"type": "score_model", "model": "m", "input": ASK}
    assert graded(spec, "it", judge=Says(" ")).error == "unresponsive_reward_error"
    assert graded(spec, "it", judge=Truncated("")).error == "truncated_observation_error"


def test_a_refusal_and_a_failure_are_unscored() -> None:
    class Broken(Says):
        async def ask(self, model: str, messages: Any, options: Any) -> Judgement:
            raise JudgeFailed("status 500")

    spec = {"type": "score_model", "model": "m", "input": ASK}
    assert graded(spec, "it", judge=Says("", "I will not")).error == "model_grader_refusal_error"
    assert graded(spec, "it", judge=Broken("")).error == "model_grader_server_error"


@pytest.mark.parametrize(
    ("said", "score"), [('{"result": "good"}', 1.0), ("bad", 0.0), ("good!", None), ('{"result": 1}', None)]
)
def test_label_model_by_hand(said: str, score: float | None) -> None:
    spec = {"type": "label_model", "model": "m", "input": ASK, "labels": ["good", "bad"], "passing_labels": ["good"]}
    grade = graded(spec, "it", judge=Says(said))
    assert grade.score == score
    assert (grade.error == "model_grader_parse_error") == (score is None)


def test_nobody_to_ask_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(EvaluationError, match="base_url"):
        graded({"type": "score_model", "model": "m", "input": ASK}, "it")


def test_multi_by_hand() -> None:
    spec = {
        "type": "multi",
        "graders": [
            {"type": "string_check", "name": "right", "reference": "{{item.expected}}"},
            {"type": "python", "name": "short", "source": "def grade(s, i):\n    return len(s['output_text']) < 5"},
        ],
        "calculate_output": "0.75 * right + 0.25 * short",
    }
    assert graded(spec, "paid", {"expected": "paid"}) == Grade(score=1.0, sub_scores={"right": 1.0, "short": 1.0})
    assert graded(spec, "late", {"expected": "paid"}).score == 0.25
    missing = graded(spec, "late", {})
    assert (missing.score, missing.error) == (None, "invalid_variable_error")
    assert missing.sub_scores == {"right": None, "short": 1.0}
    divided = {**spec, "calculate_output": "short / right"}
    assert graded(divided, "late", {"expected": "paid"}).error == "formula_parse_error"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "string_check", "reference": "{{itm.x}}"}, "is no placeholder"),
        ({"type": "string_check", "reference": "a", "operation": "is"}, "'eq', 'ne', 'like' or 'ilike'"),
        ({"type": "text_similarity", "reference": "a", "evaluation_metric": "cosine"}, "needs embedding_model"),
        (
            {"type": "text_similarity", "reference": "a", "evaluation_metric": "bleu", "base_url": "http://x"},
            "have no effect on bleu",
        ),
        ({"type": "json_schema", "json_schema": {"type": "objekt"}}, "objekt"),
        ({"type": "python", "source": "def grade(sample, item) return"}, "is not Python"),
        ({"type": "python", "source": "def grad(sample, item): return 1"}, "defines no function grade"),
        ({"type": "python", "source": "def grade(sample): return 1"}, r"grade takes exactly \(sample, item\)"),
        ({"type": "score_model", "model": "m", "input": ASK, "range": [1, 1]}, "must be below the second"),
        (
            {"type": "label_model", "model": "m", "input": ASK, "labels": ["good", "bad"], "passing_labels": ["god"]},
            "did you mean 'good'",
        ),
        ({"type": "multi", "graders": {}, "calculate_output": "a"}, r"names \['a'\]"),
        (
            {"type": "multi", "graders": {"a": {"type": "string_check"}}, "calculate_output": "a"},
            r"graders\.a: .*\n.*reference",
        ),
        (
            {"type": "multi", "graders": {"a": {"type": "string_check", "reference": ""}}, "calculate_output": "1"},
            "have no effect",
        ),
        ({"type": "multi", "graders": {"a": {"type": "strin"}}, "calculate_output": "a"}, "no grader 'strin'"),
        ({"type": "multi", "graders": {}, "calculate_output": "open('x')"}, "no function 'open'"),
        ({"type": "multi", "graders": [{"type": "python"}], "calculate_output": "a"}, "needs a name"),
    ],
)
def test_what_cannot_work_is_refused_when_the_grader_is_made(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_grader(spec)


def asked(*answers: httpx.Response | Exception) -> tuple[Any, list[httpx.Request]]:
    """The judgement of a server that gives these answers in turn, and what it was sent."""
    seen: list[httpx.Request] = []
    waiting = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        given = waiting.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    async def ask() -> Judgement:
        async with HttpJudge("http://judge/v1", "JUDGE_KEY", httpx.MockTransport(answer)) as judge:
            return await judge.ask("m", [{"role": "user", "content": "?"}], {"temperature": 0})

    return asyncio.run(ask()), seen


def said(text: str) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": text}}], "usage": {"total_tokens": 5}})


def test_the_server_is_asked_as_openai_s_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "k")
    judgement, (request,) = asked(said("1"))
    assert judgement == Judgement("1", None, 5)
    assert str(request.url) == "http://judge/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer k"
    assert json.loads(request.content) == {
        "model": "m",
        "messages": [{"role": "user", "content": "?"}],
        "temperature": 0,
    }


def test_a_busy_server_is_asked_again_and_a_broken_one_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr("tunesmith.grade.judge.asyncio.sleep", at_once)
    judgement, requests = asked(httpx.Response(429), httpx.ConnectError("refused"), said("1"))
    assert (judgement.text, len(requests)) == ("1", 3)
    with pytest.raises(JudgeFailed, match=r"status 503: down \(asked 3 times\)"):
        asked(*(httpx.Response(503, text="down") for _ in range(3)))
    with pytest.raises(JudgeFailed, match="status 404: no such model"):
        asked(httpx.Response(404, text="no such model"))
    with pytest.raises(JudgeFailed, match="is no chat completion"):
        asked(httpx.Response(200, json={"choices": []}))
    with pytest.raises(JudgeFailed, match="is no JSON"):
        asked(httpx.Response(200, text="<html>"))
