from __future__ import annotations

from typing import Any

import pytest

from tunesmith.errors import NotFound, RecipeError
from tunesmith.evaluate.paired_shares import tango_interval
from tunesmith.evaluate.statistics import wilson_interval
from tunesmith.gate.rule import more_rows, more_rows_of_pairs, more_rows_of_share
from tunesmith.gate.rules.beats import Beats
from tunesmith.gate.rules.max_invalid import MaxInvalid
from tunesmith.gate.rules.max_score import MaxScore
from tunesmith.gate.rules.min_score import MinScore
from tunesmith.gate.rules.no_regression import NoRegression
from tunesmith.gate.stage import Measured, exit_code, judge, load_rule, problems
from tunesmith.types.decision import Decision, Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.recipe import GateSpec, PluginSpec
from tunesmith.types.report import Comparison, Contestant, EvaluationReport, Gauge, Score

NO_FACTS = GateFacts()
DEFAULT = Measured(
    {
        **dict.fromkeys(("accuracy", "macro_f1", "exact_match"), Gauge("higher", "share", 0.0, 1.0)),
        "invalid_rate": Gauge("lower", "share", 0.0, 1.0),
        "perplexity": Gauge("lower", "number", 1.0),
    },
    ("base", "prompt_only", "tuned"),
)


def score(metric: str, value: float | None, low: float = 0.0, high: float = 1.0, better: str = "higher") -> Score:
    figures: dict[str, Any] = {"low": low, "high": high, "n": 100} if value is not None else {"n": 0}
    return Score.model_validate(
        {"metric": metric, "value": value, "standard_error": 0.04, "better": better, "unscored": 0, **figures}
        | {"scale": "number" if metric == "perplexity" else "share"}
    )


def report(*, scores: tuple[Score, ...] = (), pairs: tuple[Comparison, ...] = ()) -> EvaluationReport:
    known = {each.metric: each for each in (score("accuracy", 0.9, 0.85, 0.95), *scores)}
    contestants = tuple(
        Contestant(
            name=name, model="m", adapter_digest=None, system_prompt=True, scores=known, tokens_per_answer=2,
            latency_median_seconds=0.1, predictions=(),
        )
        for name in ("prompt_only", "tuned")
    )  # fmt: skip
    return EvaluationReport(
        dataset_digest="d", split="test", rows=100, labels=("a",), contestants=contestants, comparisons=pairs
    )


def pair(difference: float, low: float, high: float, **fields: Any) -> Comparison:
    values: dict[str, Any] = {
        "metric": "accuracy", "model": "tuned", "baseline": "prompt_only", "difference": difference,
        "low": low, "high": high, "confidence": 0.95, "p_value": 0.01, "test": "McNemar exact", "n": 100,
        "won": 12, "lost": 4, **fields,
    }  # fmt: skip
    return Comparison.model_validate(values)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.85, 0.95, "pass"), (0.80, 0.95, "inconclusive"), (0.80, 0.85, "inconclusive"), (0.70, 0.849, "fail")],
)
def test_min_score_uses_the_interval(low: float, high: float, outcome: str) -> None:
    scores = (score("accuracy", (low + high) / 2 + 0.001, low, high),)
    verdict = MinScore(at_least=0.85).judge(report(scores=scores), NO_FACTS)
    assert verdict.outcome == outcome
    assert ("more row" in verdict.reason) == (outcome == "inconclusive")


def test_min_score_says_what_it_saw() -> None:
    verdict = MinScore(at_least=0.85).judge(report(), NO_FACTS)
    assert verdict.rule == "min_score(tuned accuracy at least 85.0%)"
    assert verdict.reason == (
        "accuracy of tuned is 90.0% on 100 rows (95% interval 85.0% to 95.0%), certainly at least 85.0%"
    )


def test_min_score_refuses_a_metric_where_lower_is_better() -> None:
    scores = (score("perplexity", 2.0, 1.5, 2.5, "lower"),)
    with pytest.raises(RecipeError, match="lower is better"):
        MinScore(metric="perplexity", at_least=1).judge(report(scores=scores), NO_FACTS)


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [(0.0, 0.0, 0.04, "pass"), (0.02, 0.01, 0.06, "inconclusive"), (0.2, 0.1, 0.3, "fail")],
)
def test_max_invalid_uses_the_interval(value: float, low: float, high: float, outcome: str) -> None:
    verdict = MaxInvalid(at_most=0.05).judge(
        report(scores=(score("invalid_rate", value, low, high, "lower"),)), NO_FACTS
    )
    assert verdict.outcome == outcome


def test_nothing_scored_is_inconclusive() -> None:
    empty = report(scores=(score("invalid_rate", None, better="lower"), score("macro_f1", None)))
    assert MaxInvalid().judge(empty, NO_FACTS).outcome == "inconclusive"
    assert MinScore(metric="macro_f1", at_least=0.5).judge(empty, NO_FACTS).outcome == "inconclusive"
    assert Beats(metric="macro_f1").judge(empty, NO_FACTS).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("by", "found", "outcome"),
    [
        (0.0, pair(0.08, 0.02, 0.14), "pass"),
        (0.0, pair(0.05, 0.01, 0.1, p_value=0.06, rows_for_decision=41), "inconclusive"),  # the exact test disagrees
        (0.0, pair(0.02, -0.03, 0.07, p_value=0.5, rows_for_decision=900), "inconclusive"),
        (0.0, pair(-0.08, -0.14, -0.02), "fail"),
        (0.0, pair(0.0, 0.0, 0.0, won=0, lost=0, p_value=1.0), "fail"),
        (0.05, pair(0.12, 0.06, 0.18), "pass"),
        (0.05, pair(0.08, 0.02, 0.14), "inconclusive"),
        (0.05, pair(0.02, -0.01, 0.04), "fail"),
    ],
)
def test_beats_uses_the_paired_interval(by: float, found: Comparison, outcome: str) -> None:
    assert Beats(by=by).judge(report(pairs=(found,)), NO_FACTS).outcome == outcome


def test_beats_says_why_it_fails() -> None:
    alike = Beats().judge(report(pairs=(pair(0.0, -0.4, 0.4, won=0, lost=0, p_value=1.0),)), NO_FACTS).reason
    assert alike.endswith("every row was answered alike, so there is no gain")
    small = Beats(by=0.05).judge(report(pairs=(pair(0.02, -0.01, 0.04),)), NO_FACTS).reason
    assert small.endswith("which rules out a gain of 5.0 points")


def test_beats_passes_on_the_number_of_rows() -> None:
    found = pair(0.02, -0.03, 0.07, p_value=0.5, rows_for_decision=1900)
    assert "about 1,900 more rows would settle it" in Beats().judge(report(pairs=(found,)), NO_FACTS).reason


def test_beats_turns_a_comparison_round() -> None:
    turned = pair(-0.08, -0.14, -0.02, model="prompt_only", baseline="tuned", won=4, lost=12)
    verdict = Beats().judge(report(pairs=(turned,)), NO_FACTS)
    assert verdict.outcome == "pass"
    assert "tuned is 8.0 points better than prompt_only" in verdict.reason
    assert "12 rows won, 4 lost" in verdict.reason


def test_beats_knows_that_lower_perplexity_is_better() -> None:
    found = pair(-0.5, -0.7, -0.3, metric="perplexity", better="lower", test="paired permutation")
    verdict = Beats(metric="perplexity").judge(
        report(scores=(score("perplexity", 2.0, 1.5, 2.5, "lower"),), pairs=(found,)), NO_FACTS
    )
    assert verdict.outcome == "pass"
    assert "tuned is 0.5 better" in verdict.reason


def test_rules_name_what_is_missing() -> None:
    with pytest.raises(NotFound, match="no contestant 'tunde'") as caught:
        MinScore(model="tunde", at_least=0.5).judge(report(), NO_FACTS)
    assert "Did you mean 'tuned'?" in str(caught.value)
    with pytest.raises(NotFound, match="Did you mean 'accuracy'"):
        MinScore(metric="acuracy", at_least=0.5).judge(report(), NO_FACTS)
    with pytest.raises(NotFound, match="invalid_rate"):
        MaxInvalid().judge(report(), NO_FACTS)
    with pytest.raises(NotFound, match="with itself"):
        Beats(baseline="tuned").judge(report(), NO_FACTS)


def test_more_rows_by_hand() -> None:
    half = 1.959964 * 0.04
    assert more_rows(0.5, 0.45, (0.5 - half, 0.5 + half), 100, 0.95) == 403
    assert more_rows(0.45, 0.45, (0.4, 0.5), 100, 0.95) is None
    # an interval that leans: the side towards the border has to shrink from 0.2 to 0.1, so four times the rows
    assert more_rows(0.9, 0.8, (0.7, 0.92), 100, 0.95) == pytest.approx(300, abs=1)


def test_more_rows_of_a_share_are_those_that_its_wilson_interval_takes() -> None:
    perfect = tuple(wilson_interval(24, 24, 0.95))
    more = more_rows_of_share(1.0, 0.9, perfect, 24, 0.95)
    assert more == 11
    assert wilson_interval(24 + more, 24 + more, 0.95).low >= 0.9 > wilson_interval(23 + more, 23 + more, 0.95).low
    none = tuple(wilson_interval(0, 24, 0.95))
    assert more_rows_of_share(0.0, 0.1, none, 24, 0.95) == 11
    # copies: 240 rows that tell as much as 24 need ten times as many more
    assert more_rows_of_share(1.0, 0.9, perfect, 240, 0.95) == pytest.approx(106, abs=1)
    # 80 of 100 against 0.75: (1.96 sqrt(0.1875) + 0.8416 * 0.4)^2 / 0.0025 = 562.3
    assert more_rows_of_share(0.8, 0.75, tuple(wilson_interval(80, 100, 0.95)), 100, 0.95) == 463


def test_more_rows_of_pairs_by_hand() -> None:
    assert more_rows_of_pairs(0.0, -0.05, 0.0, 5, 0.95) == 68
    assert tango_interval(0, 0, 73.1, 0.95).low > -0.05 > tango_interval(0, 0, 72.9, 0.95).low
    assert more_rows_of_pairs(-0.05, -0.05, 0.1, 50, 0.95) is None


def test_few_rows_without_a_difference_rule_out_no_loss() -> None:
    # 5 rows, all answered alike: the bootstrap of them has no width, which once read as "a loss is ruled out"
    low, high = tango_interval(0, 0, 5, 0.95)
    found = pair(0.0, low, high, won=0, lost=0, p_value=1.0, n=5)
    rule = NoRegression(metric="accuracy", baseline="prompt_only", margin=0.05)
    verdict = rule.judge(report(pairs=(found,)), NO_FACTS)
    assert verdict.outcome == "inconclusive"
    assert "about 68 more rows would settle it" in verdict.reason


@pytest.mark.parametrize(
    "rule", [Beats(metric="perplexity", by=0.1), NoRegression(metric="perplexity", baseline="prompt_only", margin=0.1)]
)
def test_a_number_on_one_row_settles_nothing(rule: Beats | NoRegression) -> None:
    alone = score("perplexity", 2.0, 2.0, 2.0, "lower").model_copy(update={"n": 1})
    found = pair(-1.0, -1.0, -1.0, metric="perplexity", better="lower", test="paired permutation", n=1)
    verdict = rule.judge(report(scores=(alone,), pairs=(found,)), NO_FACTS)
    assert (verdict.outcome, "one row or group says nothing about others" in verdict.reason) == ("inconclusive", True)
    bound = MaxScore(metric="perplexity", at_most=3.0).judge(report(scores=(alone,)), NO_FACTS)
    assert (bound.outcome, "one row says nothing about others" in bound.reason) == ("inconclusive", True)


def test_all_rules_are_judged_and_the_worst_outcome_wins() -> None:
    spec = GateSpec.model_validate(
        {
            "rules": [
                {"name": "min_score", "at_least": 0.99},
                {"name": "beats"},
                {"name": "max_invalid"},
            ]
        }
    )
    scores = (score("invalid_rate", 0.0, 0.0, 0.02, "lower"),)
    decision = judge(spec, report(scores=scores, pairs=(pair(0.02, -0.03, 0.07, p_value=0.5),)), NO_FACTS)
    assert [verdict.outcome for verdict in decision.verdicts] == ["fail", "inconclusive", "pass"]
    assert decision.outcome == "fail"
    assert len(decision.report_digest) == 64


@pytest.mark.parametrize(
    ("outcomes", "outcome", "code"),
    [
        (["pass", "pass"], "pass", 0),
        (["pass", "inconclusive"], "inconclusive", 3),
        (["inconclusive", "fail"], "fail", 1),
        ([], "pass", 0),
    ],
)
def test_outcome_and_exit_code(outcomes: list[Any], outcome: str, code: int) -> None:
    decision = Decision(
        report_digest="r", verdicts=tuple(Verdict(rule="r", outcome=each, reason="") for each in outcomes)
    )
    assert decision.outcome == outcome
    assert exit_code(decision.outcome) == code


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "beets"}, "did you mean 'beats'"),
        ({"name": "beats", "modle": "tuned"}, "did you mean 'model'"),
        ({"name": "min_score"}, "at_least: Field required"),
        ({"name": "max_invalid", "at_most": 0}, "greater than 0"),
        ({"name": "beats", "by": -1}, "greater than or equal to 0"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_fix(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_rule(PluginSpec.model_validate(options))
    assert message.lower() in str(caught.value).lower()


def test_problems_are_found_before_anything_runs_all_at_once() -> None:
    spec = GateSpec.model_validate(
        {
            "rules": [
                {"name": "beats", "metric": "f1"},
                {"name": "min_score"},
                {"name": "max_invalid", "model": "tuned2"},
            ]
        }
    )
    found = problems(spec, DEFAULT._replace(contestants=("tuned",)))
    assert [problem.field for problem in found] == [
        "gate.rules.0.metric",
        "gate.rules.0.baseline",
        "gate.rules.1.at_least",
        "gate.rules.2.model",
    ]
    assert "'f1'" in found[0].message
    assert "prompt_only" in found[1].message
    assert "did you mean 'tuned'" in (found[3].fix or "")
    assert problems(GateSpec(), DEFAULT) == ()


def test_min_score_of_perplexity_is_refused_before_anything_runs() -> None:
    spec = GateSpec.model_validate({"rules": [{"name": "min_score", "metric": "perplexity", "at_least": 2}]})
    found = problems(spec, DEFAULT)
    assert [str(each) for each in found] == [
        "gate.rules.0.metric: min_score cannot judge perplexity, where lower is better -> use max_score or beats for it"
    ]
