"""What every metric plugin promises, found by listing the folder."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import JsonValue, ValidationError

from tunesmith import plugins
from tunesmith.evaluate.metric import FOLDER, Graded, Metric, grade_key, load_metric, terms_of
from tunesmith.evaluate.metrics.preference_accuracy import PreferenceAccuracy
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction

NAMES = plugins.names(FOLDER)
LABELS = ("a", "b")
EXPECT: dict[str, JsonValue] = {
    "answers": [],
    "schema": {"type": "string", "enum": ["a", "b"]},
    "json": {"status": "open"},
    "calls": [{"name": "look_up", "arguments": {"id": ["7"]}}],
    "number": 7,
    "tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}],
    "contexts": [{"id": "1", "text": "a is the first letter"}],
    "citations": ["1"],
    "constraints": [{"name": "lowercase"}],
    "refusal": "comply",
    "tests": ["assert True"],
    "secrets": ["hunter2"],
}
"""Something for every metric to read."""


def row(index: int, reference: str, answer: str) -> Prediction:
    return Prediction(
        example_id=str(index), reference=reference, answer=answer, label=answer if answer in LABELS else None, tokens=1,
        seconds=0.1, first_token_seconds=0.1, finish_reason="stop", reference_logprob=-0.5 - index, reference_tokens=2,
        prompt_tokens=9, samples=(answer, "b"), options=LABELS, option_logprobs=(-0.5, -1.5), option_tokens=(1, 1),
        token_logprobs=(-0.25,),
        calls=({"name": "look_up", "arguments": '{"id": "7"}'},), expect=EXPECT,
    )  # fmt: skip


ANSWERED = tuple(row(i, *pair) for i, pair in enumerate([("a", "a"), ("b", "a"), ("a", "?"), ("b", "b")]))


def made(name: str) -> Metric:
    """The metric with its schema's example of options, where it has one: what it cannot guess, such as prices."""
    examples = plugins.load(FOLDER, name).model_json_schema().get("examples") or [{}]
    return load_metric(MetricSpec.model_validate({"name": name, **examples[0]}))


def rows_for(metric: Metric) -> tuple[Prediction, ...]:
    """The rows, graded 0 and 1 in turn where the metric grades; as preference pairs for the metric of those."""
    if isinstance(metric, PreferenceAccuracy):
        return tuple(each.model_copy(update={"expect": {"rejected": "b"}}) for each in ANSWERED)
    if not isinstance(metric, Graded):
        return ANSWERED
    key = grade_key(metric)
    return tuple(each.model_copy(update={"grades": {key: float(i % 2)}}) for i, each in enumerate(ANSWERED))


def test_there_are_metrics() -> None:
    assert {"accuracy", "exact_match", "invalid_rate", "macro_f1", "perplexity"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_is_a_frozen_value_that_survives_json(name: str) -> None:
    kind = plugins.load(FOLDER, name)
    made = kind()
    assert kind.model_validate_json(made.model_dump_json()) == made
    assert kind.model_config.get("frozen")
    with pytest.raises(ValidationError):
        kind.model_validate({"no_such_option": 1})


@pytest.mark.parametrize("name", NAMES)
def test_terms_are_additive_and_bootstrap_ready(name: str) -> None:
    metric = made(name)
    rows = rows_for(metric)
    terms = metric.terms(rows, LABELS)
    assert terms.shape[0] == len(rows)
    assert terms.dtype == np.float64
    assert np.isfinite(terms).all()
    doubled = metric.terms((*rows, *rows), LABELS)
    assert metric.value(doubled.sum(axis=0)) == pytest.approx(metric.value(2 * terms.sum(axis=0)))
    many = np.stack([terms.sum(axis=0)] * 3)
    assert metric.value(many).shape == (3,)
    assert metric.value(many)[1] == pytest.approx(float(metric.value(many[1])))


@pytest.mark.parametrize("name", NAMES)
def test_no_rows_and_no_totals_are_no_value(name: str) -> None:
    metric = made(name)
    terms = metric.terms((), LABELS)
    assert terms.shape[0] == 0
    assert np.isnan(metric.value(np.zeros_like(metric.terms(rows_for(metric), LABELS)[0])))


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_explains_itself(name: str) -> None:
    metric = made(name)
    assert metric.better in ("higher", "lower")
    assert len(metric.meaning) > 20
    if metric.scale == "proportion":
        terms = metric.terms(rows_for(metric), LABELS)
        assert set(metric.value(terms)) <= {0.0, 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_an_answer_is_unscored(name: str) -> None:
    metric = made(name)
    rows = rows_for(metric)
    failed = (rows[0].model_copy(update={"error": "the server did not answer"}), *rows[1:])
    terms = terms_of(metric, failed, LABELS)
    assert np.isnan(terms[0]).all()
    assert np.isfinite(terms[1:]).all()
