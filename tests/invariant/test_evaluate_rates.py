"""What a comparison states about itself is kept: its power on a planted regression, its error rate on equal models.

Answers are drawn, not generated: the comparison and the gate are the product's own, on 200 seeded pairs of models each.
Bounds are binomial quantiles: a comparison that keeps its word breaks one of them once in a thousand times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from tunesmith.evaluate.compare import compare, compare_all
from tunesmith.evaluate.power import detectable_by_error, detectable_by_mcnemar
from tunesmith.gate.rules.beats import Beats
from tunesmith.gate.rules.no_regression import NoRegression
from tunesmith.types.gate import GateFacts
from tunesmith.types.report import Comparison, Contestant, EvaluationReport, Prediction, Score

REPEATS = 200
ALPHA, POWER = 0.05, 0.8
LEAST_CAUGHT = int(stats.binom.ppf(0.001, REPEATS, POWER))
MOST_FALSE = int(stats.binom.ppf(0.999, REPEATS, ALPHA))
FLIPS = 0.16
METRICS = ("accuracy", "macro_f1", "perplexity")
LABELS = ("a", "b")
Random = np.random.Generator


def contestant(name: str, answers: Sequence[str], logprobs: Sequence[float], groups: Sequence[str]) -> Contestant:
    rows = tuple(
        Prediction.model_construct(
            example_id=str(index), reference="ba"[index % 2], answer=answer, tokens=1, seconds=0.1, group=group,
            label=answer if answer in LABELS else None, first_token_seconds=0.1, finish_reason="stop", error="",
            reference_logprob=float(logprob), reference_tokens=1,
        )
        for index, (answer, logprob, group) in enumerate(zip(answers, logprobs, groups, strict=True))
    )  # fmt: skip
    scores = {each: Score(metric=each, value=0.0, n=len(rows), standard_error=None) for each in METRICS}
    return Contestant(
        name=name, model="m", adapter_digest=None, system_prompt=True, tokens_per_answer=1, latency_median_seconds=0.1,
        predictions=rows, scores=scores,
    )  # fmt: skip


def written(right: np.ndarray) -> list[str]:
    """Answers that are right or wrong as said; the reference alternates between b and a."""
    return ["ba"[index % 2] if each else "ab"[index % 2] for index, each in enumerate(right)]


def by_flips(random: Random, rows: int, gap: float) -> tuple[Contestant, Contestant]:
    """(tuned, base): they disagree on about FLIPS of the rows, and tuned is right on `gap` fewer."""
    kind = random.choice(4, size=rows, p=[(FLIPS + gap) / 2, (FLIPS - gap) / 2, 0.7 * (1 - FLIPS), 0.3 * (1 - FLIPS)])
    alone = [""] * rows
    noise = random.normal(-2.0, 0.5, (2, rows))
    return (
        contestant("tuned", written((kind == 1) | (kind == 2)), noise[0], alone),
        contestant("base", written((kind == 0) | (kind == 2)), noise[1], alone),
    )


def by_groups(random: Random, rows: int, gap: float) -> tuple[Contestant, Contestant]:
    """(tuned, base) on groups of 8 rows, each group easy for one and hard for the other by its own luck."""
    members = np.arange(rows) // 8
    luck = np.clip(random.normal(0.6, 0.25, (2, rows // 8)) - [[gap], [0.0]], 0.0, 1.0)[:, members]
    right = random.random((2, rows)) < luck
    noise = random.normal(-2.0, 0.5, (2, rows)) + random.normal(0.0, 0.5, (2, rows // 8))[:, members]
    groups = [f"passage {each}" for each in members]
    return (
        contestant("tuned", written(right[0]), noise[0], groups),
        contestant("base", written(right[1]), noise[1], groups),
    )


def ungrouped(grouped: Contestant) -> Contestant:
    rows = tuple(row.model_copy(update={"group": ""}) for row in grouped.predictions)
    return grouped.model_copy(update={"predictions": rows})


def report(pair: Comparison, *contestants: Contestant) -> EvaluationReport:
    return EvaluationReport.model_construct(contestants=contestants, comparisons=(pair,))


def caught(metric: str, tuned: Contestant, base: Contestant) -> bool:
    """Whether the gate says, with certainty, that the base beats the tuned model."""
    pair = compare(metric, tuned, base, LABELS, 1 - ALPHA)
    assert pair is not None
    verdict = Beats(metric=metric, model="base", baseline="tuned").judge(report(pair, tuned, base), GateFacts())
    assert (verdict.outcome == "pass") <= pair.settled
    return verdict.outcome == "pass"


def test_a_planted_regression_in_accuracy_is_caught_at_the_stated_power() -> None:
    rows = 200
    stated = detectable_by_mcnemar(FLIPS * rows, 0, rows, 1 - ALPHA)
    assert stated is not None
    found = sum(caught("accuracy", *by_flips(np.random.default_rng(seed), rows, stated)) for seed in range(REPEATS))
    assert LEAST_CAUGHT <= found <= int(stats.binom.ppf(0.999, REPEATS, POWER + 0.04))


def test_a_planted_regression_in_log_probabilities_is_caught_at_the_stated_power() -> None:
    # Perplexity is exp(-mean logprob) and rows differ by normals of deviation 0.5, so by the delta method it has the
    # standard error perplexity * 0.5 / sqrt(rows), and the difference of two of them the root of the squares.
    rows, perplexity, stated = 80, float(np.exp(2.0)), 0.0
    for _ in range(20):
        error = 0.5 / rows**0.5 * float(np.hypot(perplexity, perplexity + stated))
        stated = detectable_by_error(error, rows, 1 - ALPHA) or 0.0
    assert 1.0 < stated < 3.0
    harm = float(np.log(np.exp(2.0) + stated) - 2.0)

    def planted(seed: int) -> tuple[Contestant, Contestant]:
        logprobs = np.random.default_rng(seed).normal(-2.0, 0.5, (2, rows)) - [[harm], [0.0]]
        alone = [""] * rows
        return contestant("tuned", alone, logprobs[0], alone), contestant("base", alone, logprobs[1], alone)

    found = sum(caught("perplexity", *planted(seed)) for seed in range(REPEATS))
    assert LEAST_CAUGHT <= found <= int(stats.binom.ppf(0.999, REPEATS, POWER + 0.06))


def test_a_loss_of_the_whole_margin_is_let_through_no_more_often_than_stated() -> None:
    # no_regression passes when the lower end of the 95% interval is above the margin: wrongly in one of 40
    passed = 0
    for seed in range(REPEATS):
        tuned, base = by_flips(np.random.default_rng(seed), 120, 0.06)
        pair = compare("accuracy", tuned, base, LABELS, 1 - ALPHA)
        assert pair is not None
        rule = NoRegression(metric="accuracy", model="tuned", baseline="base", margin=0.06)
        passed += rule.judge(report(pair, tuned, base), GateFacts()).outcome == "pass"
    assert passed <= int(stats.binom.ppf(0.999, REPEATS, ALPHA / 2))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("drawn", [by_flips, by_groups])
def test_equal_models_are_called_different_no_more_often_than_stated(
    metric: str, drawn: Callable[[Random, int, float], tuple[Contestant, Contestant]]
) -> None:
    false = 0
    for seed in range(REPEATS):
        pair = compare(metric, *drawn(np.random.default_rng(seed), 80, 0.0), LABELS, 1 - ALPHA)
        assert pair is not None
        false += pair.settled
    assert false <= MOST_FALSE


def test_any_of_all_metrics_calls_equal_models_different_no_more_often_than_stated() -> None:
    false = 0
    for seed in range(REPEATS):
        tuned, base = by_flips(np.random.default_rng(seed), 50, 0.0)
        false += any(pair.settled for pair in compare_all((base, tuned), LABELS, 1 - ALPHA))
    assert false <= MOST_FALSE


def test_ignoring_the_groups_would_break_the_promise() -> None:
    # The same rows as if each stood alone: the test above has something to find.
    false, repeats = 0, 50
    for seed in range(repeats):
        tuned, base = map(ungrouped, by_groups(np.random.default_rng(seed), 80, 0.0))
        found = compare("perplexity", tuned, base, LABELS, 1 - ALPHA)
        assert found is not None
        false += found.settled
    assert false > int(stats.binom.ppf(0.999, repeats, ALPHA))
