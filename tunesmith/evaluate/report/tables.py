"""The rows of the report's tables, worded and ready to show."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from markupsafe import Markup

from tunesmith.evaluate.report import wording
from tunesmith.evaluate.report.charts import difference_chart
from tunesmith.evaluate.report.facts import ReportFacts
from tunesmith.evaluate.report.story import comparison_between, main_metric, rival, subject
from tunesmith.types.report import Comparison, Contestant, EvaluationReport

__all__ = [
    "ClassRow",
    "ComparisonRow",
    "ContestantRow",
    "ScoreCell",
    "Tile",
    "class_rows",
    "comparison_cells",
    "comparison_rows",
    "contestant_rows",
    "identity_facts",
    "run_facts",
    "tiles",
]


class Tile(NamedTuple):
    """One large figure."""

    label: str
    value: str
    note: str


class ScoreCell(NamedTuple):
    """One score: value, ± standard error, and a note when rows share groups or could not be scored."""

    value: str
    error: str
    note: str


class ContestantRow(NamedTuple):
    """One line of the table of contestants."""

    name: str
    what: str
    is_subject: bool
    cells: tuple[ScoreCell, ...]
    tokens: str
    latency: str
    latency_note: str


class ComparisonRow(NamedTuple):
    """One paired comparison; `kind` is good, bad or unsure; `first` marks the first metric of a pair.

    `holm` is p adjusted over the pair's metrics, `detectable` the smallest difference that these rows find, `groups`
    how many of them are independent ('': all).
    """

    first: bool
    model: str
    baseline: str
    metric: str
    kind: str
    difference: str
    interval: str
    p: str
    holm: str
    test: str
    detectable: str
    rows: str
    groups: str
    won: int
    lost: int
    reading: str
    chart: Markup


class ClassRow(NamedTuple):
    """One label's figures; `width` is its F1 in percent."""

    label: str
    support: int
    precision: str
    recall: str
    f1: str
    width: float


def tiles(facts: ReportFacts) -> tuple[Tile, ...]:
    """The figures that a reader wants first."""
    ours, other = subject(facts.evaluation), rival(facts.evaluation)
    found: list[Tile] = []
    score = main_metric(ours)
    if score is not None:
        note = f"{wording.plus_minus(score)}, {score.n} rows"
        found.append(Tile(wording.name(score.metric), wording.amount(score.value, score.scale), note))
        pair = comparison_between(facts.evaluation, score.metric, ours.name, other.name) if other else None
        if pair and other:
            ends = f"{wording.change(pair.low, score.scale)} to {wording.change(pair.high, score.scale)}"
            label = f"Against {wording.name(other.name).lower()}"
            found.append(Tile(label, wording.difference(pair.difference, score.scale), ends))
    invalid = ours.scores.get("invalid_rate")
    if invalid is not None and invalid.value is not None:
        found.append(Tile("Invalid answers", wording.amount(invalid.value, invalid.scale), wording.interval(invalid)))
    latency = wording.duration(ours.latency_median_seconds)
    found.append(Tile("Median latency", latency, f"{facts.evaluation.concurrency} requests in flight"))
    parameters = facts.run.trainable_parameters
    trained = f"{parameters / 1e6:.1f} million" if parameters >= 1e6 else f"{parameters:,}"
    found.append(Tile("Training time", wording.duration(facts.run.seconds), f"{trained} trained parameters"))
    return tuple(found)


def contestant_rows(evaluation: EvaluationReport) -> tuple[ContestantRow, ...]:
    """One line per contestant, the metrics in the order of the recipe."""
    return tuple(_contestant_row(each, each.name == subject(evaluation).name) for each in evaluation.contestants)


def _contestant_row(contestant: Contestant, is_subject: bool) -> ContestantRow:
    cells = tuple(
        ScoreCell(
            wording.amount(score.value, score.scale),
            wording.plus_minus(score),
            ", ".join(filter(None, (wording.groups(score), f"{score.unscored} unscored" if score.unscored else ""))),
        )
        for score in contestant.scores.values()
    )
    adapter = f"adapter {contestant.adapter_digest[:12]}" if contestant.adapter_digest else contestant.model
    prompt = "with system prompt" if contestant.system_prompt else "no system prompt"
    answered = [row for row in contestant.predictions if not row.error]
    seconds = sorted(row.seconds for row in answered)
    first = statistics.median(row.first_token_seconds for row in answered)
    slow = seconds[math.ceil(0.95 * len(seconds) - 1e-9) - 1]  # as the metric `latency` has it
    return ContestantRow(
        name=wording.name(contestant.name),
        what=f"{adapter}, {prompt}",
        is_subject=is_subject,
        cells=cells,
        tokens=f"{contestant.tokens_per_answer:.1f}" if contestant.timed else wording.NOTHING,
        latency=wording.duration(contestant.latency_median_seconds) if contestant.timed else wording.NOTHING,
        latency_note=f"95%: {wording.duration(slow)} · first: {wording.duration(first)}" if contestant.timed else "",
    )


def comparison_rows(evaluation: EvaluationReport) -> tuple[ComparisonRow, ...]:
    """All comparisons, the subject's against its rival first, grouped by pair."""
    ours, other = subject(evaluation), rival(evaluation)
    first = (ours.name, other.name if other else "")
    pairs = dict.fromkeys((each.model, each.baseline) for each in evaluation.comparisons)
    order = sorted(pairs, key=lambda pair: (pair != first, pair[0] != ours.name))
    reach = {True: 0.0, False: 0.0}
    for each in evaluation.comparisons:
        numeric = _scale(evaluation, each) == "number"
        reach[numeric] = max(reach[numeric], abs(each.low), abs(each.high))
    rows = []
    for pair in order:
        found = [each for each in evaluation.comparisons if (each.model, each.baseline) == pair]
        for index, each in enumerate(found):
            widest = reach[_scale(evaluation, each) == "number"] or 1.0
            rows.append(_comparison_row(evaluation, each, index == 0, widest))
    return tuple(rows)


def _comparison_row(evaluation: EvaluationReport, pair: Comparison, first: bool, reach: float) -> ComparisonRow:
    scale = evaluation.contestant(pair.model).scores[pair.metric].scale
    gain = pair.difference if pair.better == "higher" else -pair.difference
    settled = pair.rows_for_decision is None
    kind = ("good" if gain > 0 else "bad") if settled else "unsure"
    undecided = f"undecided, about {wording.about(pair.rows_for_decision or 0)} more rows"
    if pair.won == pair.lost == 0:
        undecided = "the same on every row"
    reading = {"good": "better", "bad": "worse"}.get(kind, undecided)
    return ComparisonRow(
        first=first,
        model=wording.name(pair.model),
        baseline=wording.name(pair.baseline).lower(),
        metric=wording.name(pair.metric),
        kind=kind,
        difference=wording.difference(pair.difference, scale),
        interval=f"{wording.change(pair.low, scale)} to {wording.change(pair.high, scale)}",
        p=wording.p_value(pair),
        holm=wording.holm(pair),
        test=pair.test,
        detectable=wording.detectable(pair, scale),
        rows=f"{pair.n:,}",
        groups=wording.groups(pair),
        won=pair.won,
        lost=pair.lost,
        reading=reading,
        chart=difference_chart(pair, reach),
    )


def comparison_cells(evaluation: EvaluationReport) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(heads, rows) of the table of comparisons where there is no picture."""
    interval = f"{evaluation.confidence:.0%} interval"
    heads = (
        "Comparison",
        "Metric",
        "Difference",
        interval,
        "p",
        "Holm p",
        "Detectable",
        "Rows",
        "Won : lost",
        "Reading",
    )
    return heads, [
        (
            f"{row.model} against {row.baseline}",
            row.metric,
            row.difference,
            row.interval,
            f"{row.p} ({row.test})",
            row.holm,
            row.detectable,
            f"{row.rows} in {row.groups}" if row.groups else row.rows,
            f"{row.won} : {row.lost}",
            row.reading,
        )
        for row in comparison_rows(evaluation)
    ]


def _scale(evaluation: EvaluationReport, pair: Comparison) -> str:
    return evaluation.contestant(pair.model).scores[pair.metric].scale


def class_rows(contestant: Contestant) -> tuple[ClassRow, ...]:
    """Labels by F1, weakest first."""
    return tuple(
        ClassRow(
            label=each.label,
            support=each.support,
            precision=wording.amount(each.precision, "share"),
            recall=wording.amount(each.recall, "share"),
            f1=wording.amount(each.f1, "share"),
            width=round(100 * each.f1, 1),
        )
        for each in sorted(contestant.classes, key=lambda each: (each.f1, each.label))
    )


def run_facts(facts: ReportFacts) -> tuple[tuple[str, str], ...]:
    """Size, time and memory of the training."""
    run = facts.run
    share = run.trainable_parameters / max(1, run.total_parameters)
    speed = run.effective_tokens / run.seconds if run.seconds else 0.0
    saved = run.effective_tokens / max(1, run.computed_tokens)
    return (
        ("Base model", run.base),
        ("Trained parameters", f"{run.trainable_parameters:,} of {run.total_parameters:,} ({share:.2%})"),
        ("Steps", f"{run.steps:,} (best: {run.best_step:,})"),
        ("Precision", run.precision),
        ("Time", wording.duration(run.seconds)),
        ("Speed", f"{speed:,.0f} effective tokens per second"),
        ("Shared prefixes", f"{run.effective_tokens:,} tokens from {run.computed_tokens:,} computed ({saved:.1f}x)"),
        (
            "Peak memory",
            f"{wording.size(run.actual_peak_bytes)} (predicted {wording.size(run.predicted_peak_bytes)})",
        ),
    )


def identity_facts(facts: ReportFacts) -> tuple[tuple[str, str], ...]:
    """The digests that say exactly what was trained and measured."""
    run = facts.run
    return (
        ("Run", run.id),
        ("Adapter", run.adapter_digest),
        ("Base", run.base_digest),
        ("Chat template", run.template_digest),
        ("Dataset", run.dataset_digest),
        ("Evaluation", facts.evaluation.content_digest()),
    )
