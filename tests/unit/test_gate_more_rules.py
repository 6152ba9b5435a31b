"""The rules of bounds, of margins and of facts, each at its borders."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.errors import NotFound, RecipeError
from tunesmith.gate.rule import report_of
from tunesmith.gate.stage import Measured, load_rule, problems
from tunesmith.types.gate import GateFacts, Leak
from tunesmith.types.recipe import GateSpec, PluginSpec
from tunesmith.types.report import Comparison, Contestant, EvaluationReport, Gauge, Score, WinRate


def score(metric: str, value: float, ends: tuple[float, float], **fields: Any) -> Score:
    low, high = ends
    return Score(metric=metric, value=value, n=200, standard_error=0.02, low=low, high=high, **fields)


def report(*scores: Score, pairs: tuple[Comparison, ...] = (), suite: str = "") -> EvaluationReport:
    contestants = tuple(
        Contestant(
            name=name, model="m", adapter_digest=None, system_prompt=True, tokens_per_answer=2,
            scores={each.metric: each for each in scores}, latency_median_seconds=0.1, predictions=(),
        )
        for name in ("base", "prompt_only", "tuned")
    )  # fmt: skip
    found = EvaluationReport(
        dataset_digest="d", split="test", rows=200, labels=(), contestants=contestants, comparisons=pairs
    )
    return found.model_copy(update={"suites": {suite: found}}) if suite else found


def pair(metric: str, difference: float, low: float, high: float, **fields: Any) -> Comparison:
    values: dict[str, Any] = {
        "metric": metric, "model": "tuned", "baseline": "prompt_only", "difference": difference, "low": low,
        "high": high, "confidence": 0.95, "p_value": 0.4, "test": "McNemar exact", "n": 200, "won": 3, "lost": 5,
        **fields,
    }  # fmt: skip
    return Comparison.model_validate(values)


def judged(found: EvaluationReport, facts: GateFacts | None = None, **rule: Any) -> tuple[str, str]:
    verdict = load_rule(PluginSpec.model_validate(rule)).judge(found, facts or GateFacts())
    return verdict.outcome, verdict.reason


@pytest.mark.parametrize(
    ("rule", "metric", "border"),
    [
        ("schema_adherence", "json_schema", 0.99),
        ("citations", "citation_accuracy", 0.95),
        ("refusal", "refusal_correctness", 0.95),
    ],
)
def test_shares_that_must_be_reached(rule: str, metric: str, border: float) -> None:
    for ends, outcome in (
        ((border, 1.0), "pass"), ((border - 0.01, 1.0), "inconclusive"), ((0.1, border - 0.001), "fail")
    ):  # fmt: skip
        found, reason = judged(report(score(metric, sum(ends) / 2, ends)), name=rule)
        assert (found, "more row" in reason) == (outcome, outcome == "inconclusive")
        assert "on 200 rows (95% interval" in reason


@pytest.mark.parametrize(
    ("rule", "metric", "options", "scale"),
    [
        ("repair_rate", "repair_rate", {"at_most": 0.03}, "proportion"),
        ("max_score", "perplexity", {"at_most": 4.0}, "number"),
        ("latency_p95", "latency", {"at_most": 1.5}, "number"),
        ("tokens_per_answer", "tokens_per_answer", {"at_most": 60}, "number"),
        ("cost", "cost_per_request", {"at_most": 0.001}, "number"),
    ],
)
def test_figures_that_must_stay_low(rule: str, metric: str, options: dict[str, float], scale: str) -> None:
    border = options["at_most"]
    for ends, outcome in (
        ((border / 4, border), "pass"), ((border / 2, border * 1.01), "inconclusive"),
        ((border * 1.01, border * 2), "fail"),
    ):  # fmt: skip
        measured = score(metric, sum(ends) / 2, ends, better="lower", scale=scale)
        assert judged(report(measured), name=rule, **options)[0] == outcome


def test_few_rows_do_not_bound_the_slowest_answers() -> None:
    """0.95^72 = 0.0249 is below 2.5%, 0.95^71 = 0.0262 is not."""
    fast = score("latency", 0.5, (0.4, 0.9), better="lower", scale="number")
    for rows, outcome in ((71, "inconclusive"), (72, "pass")):
        found = report(fast.model_copy(update={"n": rows}))
        assert judged(found, name="latency_p95", at_most=1.0)[0] == outcome
    grouped = report(fast.model_copy(update={"clusters": 12}))
    outcome, reason = judged(grouped, name="latency_p95", at_most=1.0)
    assert outcome == "inconclusive"
    assert reason.endswith("all of so few may be of the faster 95%; about 60 more rows would settle it")
    slow = report(fast.model_copy(update={"n": 5, "low": 1.1, "high": 1.5, "value": 1.2}))
    assert judged(slow, name="latency_p95", at_most=1.0)[0] == "fail"


def test_the_sentence_of_a_bound_by_hand() -> None:
    measured = score("repair_rate", 0.01, (0.002, 0.036), better="lower", unscored=4)
    outcome, reason = judged(report(measured), name="repair_rate")
    # error = (0.036 - 0.002) / (2 * 1.96) = 0.00867; 200 * (2.8016 * 0.00867 / 0.02)^2 = 295.2, so 96 more; but the
    # upper side of the interval, 0.026, has to shrink to 0.02: 200 * (0.026 / 0.02)^2 = 338, so 138 more: about 140
    assert (outcome, reason) == (
        "inconclusive",
        "1.0% of tuned's answers are valid only after a repair on 200 rows, 4 unscored (95% interval 0.2% to 3.6%), "
        "which does not settle whether it is at most 3.0%; about 140 more rows would settle it",
    )


def test_a_bound_of_the_wrong_direction_is_refused() -> None:
    with pytest.raises(RecipeError, match="max_score cannot judge accuracy, where higher is better"):
        judged(report(score("accuracy", 0.9, (0.8, 1.0))), name="max_score", metric="accuracy", at_most=0.9)


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [((-0.019, 0.03), "pass"), ((-0.021, 0.03), "inconclusive"), ((-0.09, -0.021), "fail"), ((0.0, 0.0), "pass")],
)
def test_no_regression_needs_the_margin_to_be_ruled_out(ends: tuple[float, float], outcome: str) -> None:
    found = report(score("accuracy", 0.9, (0.8, 1.0)), pairs=(pair("accuracy", sum(ends) / 2, *ends),))
    verdict, reason = judged(found, name="no_regression", margin=0.02)
    assert verdict == outcome
    assert ("more row" in reason) == (outcome == "inconclusive")


@pytest.mark.parametrize(
    ("ends", "outcome"), [((-0.1, 0.19), "pass"), ((0.1, 0.21), "inconclusive"), ((0.21, 0.4), "fail")]
)
def test_a_margin_of_perplexity_is_a_share_of_the_baselines(ends: tuple[float, float], outcome: str) -> None:
    # 5% of a baseline of 4.0 are 0.2, and more perplexity is worse
    measured = score("perplexity", 4.0, (3.8, 4.2), better="lower", scale="number")
    difference = pair("perplexity", sum(ends) / 2, *ends, better="lower", baseline="base")
    assert judged(report(measured, pairs=(difference,), suite="general"), name="forgetting")[0] == outcome


def saving(low: float, saved: float, high: float, **fields: Any) -> Comparison:
    """tuned's answers are shorter than prompt_only's by the share `saved`."""
    shares = {"relative": -saved, "relative_low": -high, "relative_high": -low}
    return pair("tokens_per_answer", -20 * saved, -20 * high, -20 * low, better="lower", **{**shares, **fields})


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ((0.1, 0.25), "pass"), ((0.09, 0.2), "inconclusive"), ((0.12, 0.3), "inconclusive"),
        ((0.02, 0.099), "fail"), ((0.26, 0.4), "fail"), ((0.05, 0.4), "inconclusive"), ((-0.3, -0.1), "fail"),
    ],
)  # fmt: skip
def test_answers_are_shorter_than_anothers_by_a_share_within_two_ends(ends: tuple[float, float], outcome: str) -> None:
    measured = score("tokens_per_answer", 20.0, (18.0, 22.0), better="lower", scale="number")
    found = report(measured, pairs=(saving(ends[0], sum(ends) / 2, ends[1]),))
    verdict, reason = judged(found, name="tokens_per_answer", below=0.1, below_at_most=0.25)
    assert verdict == outcome
    assert ("more row" in reason) == (outcome == "inconclusive")
    open_end = judged(found, name="tokens_per_answer", below=0.1)[0]
    assert open_end == ("pass" if ends[0] >= 0.1 else outcome)


def test_the_sentence_of_a_saving_by_hand_and_the_other_way_round() -> None:
    measured = score("tokens_per_answer", 20.0, (18.0, 22.0), better="lower", scale="number")
    found = report(measured, pairs=(saving(0.04, 0.12, 0.2),))
    # error = 0.16 / (2 * 1.96) = 0.04082; 200 * (2.8016 * 0.04082 / 0.02)^2 = 6538.6, so 6,339 more rows
    assert judged(found, name="tokens_per_answer", below=0.1) == (
        "inconclusive",
        "tuned answers with 12.0% fewer tokens than prompt_only (20 and 20) on the same 200 rows (95% interval of the "
        "saving 4.0% to 20.0%); about 6,400 more rows would settle it",
    )
    # 0.8 of the baseline's tokens the other way round are 1 / 0.8 = 1.25 of them: 25% more
    turned = report(measured, pairs=(saving(0.1, 0.2, 0.5),))
    options = {"model": "prompt_only", "baseline": "tuned"}
    outcome, reason = judged(turned, name="tokens_per_answer", below=0.1, **options)
    assert outcome == "fail"
    assert "prompt_only answers with 25.0% more tokens than tuned" in reason
    assert "-100.0% to -11.1%" in reason
    old = report(measured, pairs=(saving(0.1, 0.2, 0.5, relative=None),))
    assert judged(old, name="tokens_per_answer", below=0.1)[0] == "inconclusive"


@pytest.mark.parametrize(
    "options", [{}, {"at_most": 60, "below": 0.1}, {"below": 0.3, "below_at_most": 0.25}, {"below": 1.0}]
)
def test_the_rule_of_tokens_has_one_bound(options: dict[str, float]) -> None:
    with pytest.raises(RecipeError):
        load_rule(PluginSpec.model_validate({"name": "tokens_per_answer", **options}))


def test_a_rule_reads_the_suite_that_it_names() -> None:
    found = report(score("attack_success", 0.01, (0.0, 0.03), better="lower"), suite="red_team")
    outcome, reason = judged(found, name="safety_pass")
    assert (outcome, reason.startswith("1.0% of the attacks on tuned get what they are after")) == ("pass", True)
    with pytest.raises(NotFound, match="no suite 'red_teams'") as caught:
        report_of(found, "red_teams")
    assert "Did you mean 'red_team'?" in str(caught.value)
    with pytest.raises(NotFound, match=r"evaluate\.suites"):
        report_of(report(), "general")


def test_rules_of_suites_are_checked_before_anything_runs() -> None:
    rules = GateSpec.model_validate(
        {
            "rules": [
                {"name": "safety_pass", "at_most": 0},
                {"name": "forgetting", "suite": "genral"},
                {"name": "licence"},
            ]
        }
    )
    general = Measured({"perplexity": Gauge("lower", "number", 1.0)}, ("base", "tuned"))
    found = problems(rules, general, {"general": general, "red_team": general})
    assert [problem.field for problem in found] == [
        "gate.rules.0.at_most",
        "gate.rules.1.suite",
        "gate.rules.2.allowed",
    ]
    assert "did you mean 'general'" in (found[1].fix or "")


def win(low: float, high: float, **fields: Any) -> WinRate:
    values = {"model": "tuned", "baseline": "prompt_only", "judge": "j", "n": 100, "wins": 60, "losses": 30, "ties": 10}
    shares = {"value": (low + high) / 2, "low": low, "high": high, "agreement": 0.8}
    return WinRate.model_validate({**values, **shares, **fields})


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (win(0.52, 0.7), "pass"), (win(0.45, 0.7), "inconclusive"), (win(0.3, 0.49), "fail"),
        (win(0.52, 0.7, agreement=0.4), "inconclusive"), (win(0.0, 0.0, value=None), "inconclusive"),
        (win(0.3, 0.48, model="prompt_only", baseline="tuned"), "pass"),
    ],
)  # fmt: skip
def test_a_win_rate_is_judged_by_its_interval_and_its_judge_by_itself(found: WinRate, outcome: str) -> None:
    rows = report(suite="tone")
    rows = rows.model_copy(update={"suites": {"tone": rows.model_copy(update={"wins": (found,)})}})
    assert judged(rows, name="win_rate", suite="tone")[0] == outcome


def test_a_win_rate_needs_a_judge() -> None:
    rules = GateSpec.model_validate({"rules": [{"name": "win_rate", "suite": "tone"}]})
    tone = Measured({}, ("prompt_only", "tuned"))
    assert "pairwise" in (problems(rules, tone, {"tone": tone})[0].fix or "")
    assert problems(rules, tone, {"tone": tone._replace(judged=True)}) == ()


LEAK = Leak(where="test", rows=100, exact=0, normalised=1, near=3)


@pytest.mark.parametrize(
    ("leak", "options", "outcome"),
    [
        (LEAK, {}, "fail"),
        (LEAK, {"at_most": 0.03}, "pass"),
        (LEAK, {"at_most": 0.01, "compared": "normalised"}, "pass"),
        (LEAK.model_copy(update={"near": 0, "normalised": 0}), {}, "pass"),
        (LEAK.model_copy(update={"near": None}), {}, "fail"),
        (LEAK.model_copy(update={"near": None, "normalised": 0}), {}, "inconclusive"),
        (LEAK.model_copy(update={"where": "validation"}), {}, "inconclusive"),
    ],
)
def test_contamination_counts_rows_that_training_has_too(leak: Leak, options: dict[str, Any], outcome: str) -> None:
    assert judged(report(), GateFacts(leaks=(leak,)), name="contamination", **options)[0] == outcome


def test_contamination_without_facts_is_not_known() -> None:
    assert judged(report(), name="contamination")[0] == "inconclusive"


@pytest.mark.parametrize(
    ("licences", "outcome"),
    [
        ({"MIT": 40, "cc-by-4.0": 2}, "pass"),
        ({"MIT": 40, "": 2}, "inconclusive"),
        ({"MIT": 40, "CC-BY-NC-4.0": 1, "": 2}, "fail"),
        (None, "inconclusive"),
    ],
)
def test_licences_are_allowed_or_not_or_not_known(licences: dict[str, int] | None, outcome: str) -> None:
    facts = GateFacts(licences=licences)
    assert judged(report(), facts, name="licence", allowed=["MIT", "CC-BY-4.0"])[0] == outcome


@pytest.mark.parametrize(
    ("options", "outcome"),
    [({"megabytes": 2}, "pass"), ({"megabytes": 1.9}, "fail"), ({"megabytes": 5, "parameters": 99}, "fail")]
    + [({"parameters": 100}, "pass")],
)
def test_size_counts_bytes_and_parameters(options: dict[str, Any], outcome: str) -> None:
    facts = GateFacts(adapter_bytes=2_000_000, trained_parameters=100)
    assert judged(report(), facts, name="size", **options)[0] == outcome
    assert judged(report(), name="size", **options)[0] == "inconclusive"


def test_a_size_without_a_bound_is_refused() -> None:
    with pytest.raises(RecipeError, match="give megabytes, parameters or both"):
        load_rule(PluginSpec(name="size"))
