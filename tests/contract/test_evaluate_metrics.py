"""What every metric plugin promises, found by listing the folder."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.evaluate.metric import FOLDER, load_metric
from tunesmith.types.report import Prediction

NAMES = plugins.names(FOLDER)
LABELS = ("a", "b")
ROWS = tuple(
    Prediction(
        example_id=str(index), reference=reference, answer=answer, label=answer if answer in LABELS else None, tokens=1,
        seconds=0.1, first_token_seconds=0.1, finish_reason="stop", reference_logprob=-0.5 - index, reference_tokens=2,
    )
    for index, (reference, answer) in enumerate([("a", "a"), ("b", "a"), ("a", "?"), ("b", "b")])
)  # fmt: skip


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
    metric = load_metric(name)
    terms = metric.terms(ROWS, LABELS)
    assert terms.shape[0] == len(ROWS)
    assert terms.dtype == np.float64
    assert np.isfinite(terms).all()
    doubled = metric.terms((*ROWS, *ROWS), LABELS)
    assert metric.value(doubled.sum(axis=0)) == pytest.approx(metric.value(2 * terms.sum(axis=0)))
    many = np.stack([terms.sum(axis=0)] * 3)
    assert metric.value(many).shape == (3,)
    assert metric.value(many)[1] == pytest.approx(float(metric.value(many[1])))


@pytest.mark.parametrize("name", NAMES)
def test_no_rows_and_no_totals_are_no_value(name: str) -> None:
    metric = load_metric(name)
    terms = metric.terms((), LABELS)
    assert terms.shape[0] == 0
    assert np.isnan(metric.value(np.zeros_like(metric.terms(ROWS, LABELS)[0])))


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_explains_itself(name: str) -> None:
    metric = load_metric(name)
    assert metric.better in ("higher", "lower")
    assert len(metric.meaning) > 20
    if metric.scale == "proportion":
        terms = metric.terms(ROWS, LABELS)
        assert set(metric.value(terms)) <= {0.0, 1.0}
