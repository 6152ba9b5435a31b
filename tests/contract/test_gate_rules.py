"""What every gate rule promises, found by listing the folder. Its schema holds an example of its options."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.evaluate.metric import gauges
from tunesmith.gate.rule import Rule
from tunesmith.gate.stage import FOLDER, Measured, load_rule, problems
from tunesmith.types.fields import MetricSpec
from tunesmith.types.gate import GateFacts
from tunesmith.types.recipe import GateSpec, PluginSpec
from tunesmith.types.report import Contestant, EvaluationReport, Gauge, Score

NAMES = plugins.names(FOLDER)


def example(name: str) -> dict[str, Any]:
    found = plugins.load(FOLDER, name).model_json_schema()["examples"]
    assert found
    return dict(found[0])


def test_there_are_rules() -> None:
    assert {
        "beats", "citations", "contamination", "cost", "forgetting", "latency_p95", "licence", "max_invalid",
        "min_score", "no_regression", "refusal", "repair_rate", "safety_pass", "schema_adherence", "size",
        "tokens_per_answer", "win_rate",
    } <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_a_frozen_value_that_survives_json(name: str) -> None:
    kind = plugins.load(FOLDER, name)
    rule = kind.model_validate(example(name))
    assert kind.model_validate_json(rule.model_dump_json()) == rule
    with pytest.raises(ValidationError):
        setattr(rule, next(iter(kind.model_fields)), "x")
    with pytest.raises(ValidationError):
        kind.model_validate({**example(name), "no_such_option": 1})


def loaded(name: str) -> Rule:
    return load_rule(PluginSpec.model_validate({"name": name, **example(name)}))


def measured(rule: Rule) -> EvaluationReport:
    """A report in which everything that `rule` reads was measured on 40 rows, all equal for all contestants."""
    reads = rule.reads()
    better = reads.needs or "higher"
    figures: dict[str, Any] = {"low": 0.4, "high": 0.6, "value": 0.5, "standard_error": 0.05, "n": 40}
    scores = {each: Score(metric=each, better=better, scale="share", **figures) for each in reads.metrics}
    contestants = tuple(
        Contestant(
            name=name, model="m", adapter_digest=None, system_prompt=True, scores=scores, tokens_per_answer=2,
            latency_median_seconds=0.1, predictions=(),
        )
        for name in reads.contestants
    )  # fmt: skip
    rows = EvaluationReport(
        dataset_digest="d", split="test", rows=40, labels=(), contestants=contestants, comparisons=()
    )
    return rows.model_copy(update={"suites": {reads.suite: rows}}) if reads.suite else rows


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_says_what_it_reads_and_reads_no_more(name: str) -> None:
    rule = loaded(name)
    verdict = rule.judge(measured(rule), GateFacts())
    assert verdict.rule.startswith(f"{name}(")
    assert verdict.name == name
    if not rule.reads().needs:  # a rule of comparisons or facts: there are none here, and what is not known is no pass
        assert verdict.outcome == "inconclusive"
    assert len(verdict.reason) > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_refused_before_anything_runs_when_its_figures_will_not_be_measured(name: str) -> None:
    spec = PluginSpec.model_validate({"name": name, **example(name)})
    reads = load_rule(spec).reads()
    there = Measured(
        dict.fromkeys(reads.metrics, Gauge(reads.needs or "higher")), reads.contestants, judged=reads.judged
    )
    suites = {reads.suite: there} if reads.suite else {}
    assert problems(GateSpec(rules=(spec,)), there, suites) == ()
    found = problems(GateSpec(rules=(spec,)), Measured({}, ()))
    assert bool(found) == bool(reads.metrics or reads.suite)


@pytest.mark.parametrize("name", NAMES)
def test_the_metric_that_a_rule_reads_by_default_is_there_and_improves_its_way(name: str) -> None:
    reads = loaded(name).reads()
    known = set(plugins.names("tunesmith.evaluate.metrics"))
    for metric in known & set(reads.metrics):
        way = gauges((MetricSpec(name=metric),))[metric].better
        assert way == (reads.needs or way)
