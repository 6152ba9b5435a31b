"""Bounds that no figure decides are refused before anything runs, with line, field, range and the likely meaning."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tunesmith import plugins
from tunesmith.cli.options import read_recipe
from tunesmith.errors import RecipeError
from tunesmith.evaluate.metric import FOLDER, gauges
from tunesmith.gate.limits import undecidable
from tunesmith.gate.rule import Limit
from tunesmith.gate.rules.max_score import MaxScore
from tunesmith.gate.rules.min_score import MinScore
from tunesmith.serve.api.recipes.handler import validate
from tunesmith.types.fields import MetricSpec
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import Contestant, EvaluationReport, Gauge, Score

SHARE, ERRORS = Gauge("higher", "share", 0.0, 1.0), Gauge("lower", "proportion", 0.0, 1.0)
PERPLEXITY, SECONDS = Gauge("lower", "number", 1.0, math.inf), Gauge("lower", "number", 0.0, math.inf)
STARS, SPEED = Gauge("higher", "number", 1.0, 5.0), Gauge("higher", "number", 0.0, math.inf)


def said(option: str, value: float, kind: Any, gauge: Gauge) -> str | None:
    found = undecidable(Limit(option, value, kind), f"gate.rules.0.{option}", "it", gauge)
    return None if found is None else f"{found.message} -> {found.fix}"


@pytest.mark.parametrize(
    ("option", "value", "kind", "gauge", "words"),
    [
        ("at_least", 95, "least", SHARE, ("between 0 and 1", "`at_least: 95` never passes", "did you mean 0.95?")),
        ("at_least", 5, "least", SHARE, ("never passes", "did you mean 0.05?", "above 0 and below 1")),
        ("at_least", 1, "least", SHARE, ("no finite number of rows", "never passes", "did you mean 0.99?")),
        ("at_least", -0.1, "least", SHARE, ("always passes", "above 0 and below 1")),
        ("at_most", 5, "most", ERRORS, ("`at_most: 5` always passes", "did you mean 0.05?")),
        ("at_most", 0, "most", ERRORS, ("no finite number of rows", "never passes")),
        ("at_most", 0.9, "most", PERPLEXITY, ("at 1 or above", "never passes", "allowed: 1 to inf")),
        ("at_least", 0.8, "least", STARS, ("between 1 and 5", "always passes", "allowed: 1 to 5")),
        ("at_least", 80, "least", STARS, ("never passes", "allowed: 1 to 5")),
        ("by", 5, "gain", SHARE, ("differ by 1 at most", "never passes", "did you mean 0.05?")),
        ("by", 4, "gain", STARS, ("differ by 4 at most", "never passes", "allowed: 0 to 4")),
        ("margin", 2, "loss", SHARE, ("differ by 1 at most", "always passes", "did you mean 0.02?")),
        ("margin", 10, "loss", SPEED, ("cannot lose more than all", "always passes", "did you mean 0.1?")),
    ],
)
def test_a_bound_beyond_the_ends_is_refused(
    option: str, value: float, kind: Any, gauge: Gauge, words: tuple[str, ...]
) -> None:
    found = said(option, value, kind, gauge) or ""
    assert [word for word in words if word not in found] == []


@pytest.mark.parametrize(
    ("value", "kind", "gauge"),
    [
        (0.0, "least", SHARE), (0.5, "least", SHARE), (0.999, "least", SHARE), (1.0, "most", ERRORS),
        (0.01, "most", ERRORS), (1.0, "most", PERPLEXITY), (40, "most", PERPLEXITY), (2000, "most", SECONDS),
        (5, "least", STARS), (1.5, "least", STARS), (0.0, "gain", SHARE), (0.99, "gain", SHARE),
        (3, "gain", PERPLEXITY), (0.99, "loss", SHARE),
        (1.5, "loss", PERPLEXITY), (0.5, "loss", SPEED), (95, "least", SPEED),
    ],
)  # fmt: skip
def test_a_bound_that_figures_decide_is_taken(value: float, kind: Any, gauge: Gauge) -> None:
    assert said("option", value, kind, gauge) is None


def test_the_ends_of_the_metrics_are_known() -> None:
    found = gauges([MetricSpec(name="judge"), MetricSpec.model_validate({"name": "judge", "label": "ten", "high": 10})])
    assert (found["judge"].low, found["judge"].high, found["ten"].high) == (1.0, 5.0, 10.0)
    every = gauges([MetricSpec(name=name) for name in plugins.names(FOLDER)])
    assert {(one.low, one.high) for one in every.values() if one.scale != "number"} == {(0.0, 1.0)}
    numbers = {name: (one.low, one.high) for name, one in every.items() if one.scale == "number"}
    assert numbers["bleu"] == (0.0, 100.0)
    assert numbers["perplexity"] == (1.0, math.inf)
    assert min(low for low, _ in numbers.values()) == 0.0


RECIPE = """\
name: n
prepare: {sources: [{path: rows.jsonl}]}
evaluate: {suites: [red_team]}
gate:
  rules:
    - {name: min_score, metric: accuracy, at_least: 95}
    - {name: max_score, metric: perplexity, at_most: 1.5}
    - name: max_score
      suite: red_team
      metric: attack_success
      at_most: 5
    - {name: no_regression, margin: 2}
    - {name: beats, model: tuned, baseline: tuned}
release: {name: n}
"""


def test_a_recipe_is_refused_with_line_field_range_and_the_likely_meaning(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    path = tmp_path / "n.yaml"
    path.write_text(RECIPE)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, None)
    told = [(each.line, each.field) for each in caught.value.problems]
    assert told == [
        (6, "gate.rules.0.at_least"), (11, "gate.rules.2.at_most"), (12, "gate.rules.3.margin"),
        (13, "gate.rules.4.baseline"),
    ]  # fmt: skip
    assert (
        f"{path}:6: gate.rules.0.at_least: accuracy lies between 0 and 1, so `at_least: 95` never passes, whatever is "
        "measured -> did you mean 0.95? allowed: above 0 and below 1"
    ) in str(caught.value)
    read_recipe(path, ["gate.rules=[{name: min_score, metric: accuracy, at_least: 0.95}]"])
    over_http = validate(RECIPE)
    assert [(each.line, each.field) for each in over_http.problems] == told


def test_without_files_the_rules_on_suites_are_left_and_the_others_judged() -> None:
    found = validate(RECIPE.replace("[red_team]", "[mine.yaml]").replace("suite: red_team", "suite: mine"))
    assert [each.line for each in found.problems] == [6, 12, 13]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("name: safety_pass, at_most: 5", "found 5 -> did you mean 0.05? It is a share, not percent"),
        ("name: schema_adherence, at_least: 99", "found 99 -> did you mean 0.99?"),
        ("name: contamination, at_most: 1", "should be less than 1"),
        ("name: contamination, suite: red_team", "with a suite, write compared: normalised"),
        ("name: tokens_per_answer, at_most: 60, baseline: base", "baseline belongs to below"),
        ("name: licence, allowed: ['']", "at least 1 character"),
        ("name: min_score, at_least: .nan", "should be a valid number"),
        ("name: beats, by: .inf", "should be a valid number"),
    ],
)
def test_an_option_that_could_do_nothing_is_refused(tmp_path: Path, rule: str, words: str) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    path = tmp_path / "n.yaml"
    start = "name: n\nprepare: {sources: [{path: rows.jsonl}]}\nevaluate: {suites: [red_team]}\nrelease: {name: n}\n"
    path.write_text(start + f"gate:\n  rules:\n    - {{{rule}}}\n")
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, None)
    assert words in str(caught.value)
    assert f"{path}:7" in str(caught.value)


def test_a_rule_on_the_length_alone_needs_no_baseline(tmp_path: Path) -> None:
    """Its default baseline was asked for although nothing is held against it."""
    (tmp_path / "rows.jsonl").write_text("{}\n")
    path = tmp_path / "n.yaml"
    path.write_text(
        "name: n\nprepare: {sources: [{path: rows.jsonl}]}\nrelease: {name: n}\n"
        "evaluate: {compare: [base, tuned], metrics: [accuracy, tokens_per_answer]}\n"
        "gate: {rules: [{name: tokens_per_answer, at_most: 60}]}\n"
    )
    assert read_recipe(path, None).gate.rules[0].options["baseline"] is None


def test_a_bound_that_everything_reaches_says_so() -> None:
    score = Score(metric="accuracy", value=0.2, n=50, standard_error=0.05, scale="proportion", low=0.1, high=0.35)
    lower = score.model_copy(update={"metric": "invalid_rate", "better": "lower"})
    one = Contestant(
        name="tuned", model="m", adapter_digest=None, system_prompt=True, tokens_per_answer=2,
        latency_median_seconds=0.1, predictions=(), scores={"accuracy": score, "invalid_rate": lower},
    )  # fmt: skip
    report = EvaluationReport(dataset_digest="d", split="test", rows=50, labels=(), contestants=(one,), comparisons=())
    for rule in (MinScore(at_least=0.0), MaxScore(metric="invalid_rate", at_most=1.0)):
        verdict = rule.judge(report, GateFacts())
        assert (verdict.outcome, "as every model's is" in verdict.reason) == ("pass", True)
    assert "as every model's is" not in MinScore(at_least=0.05).judge(report, GateFacts()).reason
