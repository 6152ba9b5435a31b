"""What stands between the evaluation and the decision: the facts that rules ask for besides the report, the check of
the rules before anything runs, the slices that they name, and the waivers that stand beside the verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tunesmith.documents import Document, read_document
from tunesmith.errors import NotFound, Problem, RecipeError
from tunesmith.evaluate.analysis.slices import slice_names, sliced
from tunesmith.evaluate.metric import gauge, gauges, load_metric
from tunesmith.evaluate.report.suite_files import read_evaluations
from tunesmith.evaluate.running import question_of
from tunesmith.evaluate.suite import load_suite
from tunesmith.gate.rule import Reads, report_of
from tunesmith.gate.stage import Measured, judge, problems
from tunesmith.prepare.content import normalised
from tunesmith.prepare.report.write import FACTS_FILE
from tunesmith.progress import Progress
from tunesmith.recipes import suite_file, suite_names
from tunesmith.release.evidence import DECISION_FILE
from tunesmith.release.stage import ADAPTER_FOLDER
from tunesmith.release.waivers import WaiverWish, standing, waiver_for
from tunesmith.store.datasets import StoredDataset
from tunesmith.store.home_key import home_key
from tunesmith.store.values import read_value, write_value
from tunesmith.types.base import digest_json
from tunesmith.types.decision import Decision
from tunesmith.types.fields import MetricSpec
from tunesmith.types.gate import GateFacts, Leak
from tunesmith.types.recipe import GateSpec, Recipe
from tunesmith.types.report import EvaluationReport, Gauge, Score
from tunesmith.types.run import RunRecord

__all__ = ["facts_of", "judge_stored", "narrowed", "refuse_unjudgeable", "settle", "unjudgeable"]


def refuse_unjudgeable(recipe: Recipe, folder: Path, file: Path | None = None) -> None:
    """Gate rules are checked against what will be measured before any weight is loaded.

    Raises RecipeError with what is wrong with them, or with a suite; with the lines of `file`, where the recipe stands.
    """
    if found := unjudgeable(recipe, folder, read_document(file) if file else None):
        what = f"The gate of {file} has" if file else "The gate has"
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        raise RecipeError(found, message=f"{what} {count}:")


def unjudgeable(recipe: Recipe, folder: Path | None, document: Document | None) -> tuple[Problem, ...]:
    """What is wrong with the gate rules in view of what will be measured, with the lines of `document`.

    Suites lie in `folder`; without one no file is looked for, and rules on suites are not judged when one is a file.
    Raises RecipeError with what is wrong with a suite.
    """
    spec = recipe.evaluate
    shipped = set(spec.suites) <= set(suite_names())
    measured = {}
    for path in spec.suites if folder is not None or shipped else ():
        suite = load_suite(suite_file(path, folder or Path()))
        measured[suite.name] = Measured(
            gauges(suite.metrics),
            spec.compare,
            where=f"the metrics of {path}",
            judged=suite.pairwise is not None,
            slices=slice_names(suite.items, [question_of(item) for item in suite.items], suite.labels),
        )
    found = problems(recipe.gate, Measured(gauges(spec.measured), spec.compare), measured)
    if folder is None and not shipped:
        suites = [rule.options.get("suite") for rule in recipe.gate.rules]
        found = tuple(each for each in found if not suites[int((each.field or "").split(".")[2])])
    return found if document is None else _located(found, document)


def _located(problems: Sequence[Problem], document: Document) -> tuple[Problem, ...]:
    """The problems of rules with their lines in the recipe, or file of rules, that `document` is."""
    opening = 0 if "gate" in document.data or "rules" not in document.data else 1
    places = [
        tuple(int(part) if part.isdigit() else part for part in (each.field or "").split(".")) for each in problems
    ]
    return tuple(
        document.problem(place[opening:], each.message, each.fix) for place, each in zip(places, problems, strict=True)
    )


def facts_of(record: RunRecord, dataset: StoredDataset, report: EvaluationReport) -> GateFacts:
    """The facts of the run's data and adapter."""
    known = read_value(dataset.path / FACTS_FILE, GateFacts) or GateFacts(dataset_digest=dataset.manifest.digest)
    asked = _suite_leaks(dataset, report)
    return known.model_copy(
        update={
            "leaks": (*(known.leaks or ()), *asked) if known.leaks is not None or asked else None,
            "adapter_bytes": sum(file.stat().st_size for file in (Path(record.path) / ADAPTER_FOLDER).rglob("*")),
            "trained_parameters": record.trainable_parameters,
        }
    )


def settle(decision: Decision, place: Path, home: Path, wish: WaiverWish | None, progress: Progress) -> Decision:
    """`decision` with the waivers that stand (those stored beside the run, and the one that is wished for), stored
    in `place`.

    Raises what `waiver_for` raises.
    """
    stored = read_value(place / DECISION_FILE, Decision)
    waivers = stored.waivers if stored else ()
    if waivers or wish:
        now, key = datetime.now(UTC), home_key(home)
        asked = (waiver_for(decision, wish, key, now),) if wish else ()
        decision, said = standing(decision, (*waivers, *asked), key, now)
        for line in said:
            progress.say(line)
    write_value(place / DECISION_FILE, decision)
    return decision


def narrowed(report: EvaluationReport, reads: Reads) -> EvaluationReport:
    """The report with the rows that a rule reads narrowed to its slice. Raises NotFound for a slice without rows."""
    if not reads.slice:
        return report
    part = sliced(report_of(report, reads.suite), reads.slice)
    return report.model_copy(update={"suites": {**report.suites, reads.suite: part}}) if reads.suite else part


def judge_stored(
    rules: Path, gate: GateSpec, place: Path, home: Path, progress: Progress, wish: WaiverWish | None
) -> Decision:
    """The verdicts of `gate`, whose rules the file `rules` holds, on what `tunesmith eval run` wrote: a folder, or one
    of its files.

    A rule reads the suite that it names, or the only one that there is. Nothing is known beside the figures, so rules
    of facts (licences, size, contamination) are inconclusive. The decision is stored beside the evaluation.

    Raises NotFound without an evaluation, RecipeError with everything that the rules read and the evaluation lacks.
    """
    reports = read_evaluations(place)
    measured = {name: _measured(report) for name, report in reports.items()}
    only = next(iter(reports)) if len(reports) == 1 else None
    if found := problems(gate, measured[only] if only is not None else None, measured):
        raise RecipeError(_located(found, read_document(rules)), message=f"The rules cannot be judged on {place}:")
    own = reports[only] if only is not None else _no_rows(reports)
    decision = judge(gate, own.model_copy(update={"suites": reports}), GateFacts(), narrowed)
    return settle(decision, place if place.is_dir() else place.parent, home, wish, progress)


def _measured(report: EvaluationReport) -> Measured:
    """What a stored evaluation holds."""
    rows = report.contestants[0].predictions if report.contestants else ()
    questions = [report.questions.get(row.example_id, "") for row in rows]
    return Measured(
        {name: _gauge_of(score) for each in report.contestants for name, score in each.scores.items()},
        tuple(each.name for each in report.contestants),
        where="the suite's metrics and evaluate again",
        judged=bool(report.wins),
        who="the evaluation with --model LABEL=...",
        slices=slice_names(rows, questions, report.labels),
    )


def _gauge_of(score: Score) -> Gauge:
    """The gauge of a stored score; a metric that is not installed here may have any ends."""
    if score.scale == "number":
        try:
            return gauge(load_metric(MetricSpec.model_validate({"name": score.metric, **score.options})))
        except (NotFound, RecipeError):
            return Gauge(score.better, score.scale, -math.inf)
    return Gauge(score.better, score.scale, 0.0, 1.0)


def _no_rows(reports: Mapping[str, EvaluationReport]) -> EvaluationReport:
    """A report that is nothing but its suites."""
    return EvaluationReport(
        dataset_digest=digest_json([report.dataset_digest for report in reports.values()]),
        split="",
        rows=0,
        labels=(),
        contestants=(),
        comparisons=(),
    )


def _suite_leaks(dataset: StoredDataset, report: EvaluationReport) -> tuple[Leak, ...]:
    """Of each suite, the items whose question is that of a training row after normalising."""
    if not report.suites or "train" not in dataset.manifest.splits:
        return ()
    trained = {
        normalised(message.content or "")
        for row in dataset.rows("train")
        for message in row.conversation.prompt
        if message.role == "user"
    }
    return tuple(
        Leak(
            where=name,
            rows=len(suite.questions),
            exact=None,
            normalised=sum(normalised(question) in trained for question in suite.questions.values()),
            near=None,
        )
        for name, suite in report.suites.items()
    )
