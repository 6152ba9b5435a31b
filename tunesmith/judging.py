"""What stands between the evaluation and the decision: the facts that rules ask for besides the report, the check of
the rules before anything runs, the slices that they name, and the waivers that stand beside the verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from tunesmith.documents import Document, read_document
from tunesmith.errors import NotFound, Problem, RecipeError, nearest
from tunesmith.evaluate.analysis.slices import slice_names, sliced
from tunesmith.evaluate.metric import gauge, gauges, load_metric
from tunesmith.evaluate.report.suite_files import read_evaluations
from tunesmith.evaluate.running import question_of
from tunesmith.evaluate.suite import load_suite
from tunesmith.gate.rule import Reads, report_of
from tunesmith.gate.stage import Measured, judge, load_rule, problems, unread
from tunesmith.prepare.content import normalised
from tunesmith.prepare.report.write import FACTS_FILE
from tunesmith.progress import Progress
from tunesmith.recipes import load_recipe, suite_file, suite_names
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
from tunesmith.types.recipe import EvaluateSpec, GateSpec, PluginSpec, Recipe
from tunesmith.types.report import EvaluationReport, Gauge, Score
from tunesmith.types.run import RunRecord
from tunesmith.types.suite import Suite

__all__ = [
    "facts_of",
    "judge_stored",
    "load_judgeable",
    "narrowed",
    "refuse_unjudgeable",
    "rule_problems",
    "settle",
]

_LISTS = frozenset({"metrics", "compare", "suites"})
_NO_OVERRIDES: Mapping[str, str] = MappingProxyType({})


def load_judgeable(
    path: Path, overrides: Mapping[str, str] = _NO_OVERRIDES, say: Callable[[str], None] | None = None
) -> Recipe:
    """The checked recipe at `path` (see `load_recipe`), whose gate rules can be judged by what it measures.

    Raises RecipeError with all problems at once: of the recipe, of its suites, and of the rules.
    """
    return load_recipe(path, overrides, say, rule_problems)


def refuse_unjudgeable(recipe: Recipe, folder: Path) -> None:
    """Gate rules are checked against what will be measured before any weight is loaded.

    Raises RecipeError with what is wrong with them, or with a suite.
    """
    spec = recipe.evaluate
    suites = [(path, load_suite(suite_file(path, folder))) for path in spec.suites]
    measured = {suite.name: _measured_on(suite, path, spec) for path, suite in suites}
    if found := problems(recipe.gate, Measured(gauges(spec.measured), spec.compare), measured):
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        raise RecipeError(found, message=f"The gate has {count}:")


def rule_problems(data: Mapping[str, Any], folder: Path | None, document: Document) -> list[Problem]:
    """What is wrong with the suites and the gate rules in the data of a recipe, whatever else is wrong with it.

    Suites lie in `folder`; without one no file is looked for, and rules on suites are not judged when one is a file.
    What is no rule, and a rule that reads what is wrong itself, are left to what is said about that.
    """
    spec, wrong = _sound_evaluation(data.get("evaluate"))
    if spec is None:
        return []
    found: list[Problem] = []
    suites: dict[str, Measured] = {}
    hidden = False
    for path in spec.suites:
        file = suite_file(path, folder or Path())
        if not file.is_file() or (folder is None and path not in suite_names()):
            hidden = True
            continue
        try:
            suite = load_suite(file)
        except RecipeError as error:
            found, hidden = [*found, *error.problems], True
        else:
            suites[suite.name] = _measured_on(suite, path, spec)
    metrics = {each.title: _gauge(each) for each in spec.measured}
    wrong += [title for title, known in metrics.items() if known is None]
    rows = Measured({title: known for title, known in metrics.items() if known}, spec.compare)
    for index, written in enumerate(_written_rules(data.get("gate"))):
        try:
            rule = load_rule(PluginSpec.model_validate(written))
        except (RecipeError, ValidationError):
            continue
        reads = rule.reads()
        meant = [each for each in (*reads.metrics, *reads.contestants) if nearest(each, wrong)]
        if not (hidden and reads.suite not in suites if reads.suite else meant):
            found += _located(tuple(unread(rule, f"gate.rules.{index}", rows, suites)), document)
    return found


def _measured_on(suite: Suite, path: str, spec: EvaluateSpec) -> Measured:
    """What is measured on the items of a suite that a recipe names `path`."""
    return Measured(
        gauges(suite.metrics),
        spec.compare,
        where=f"the metrics of {path}",
        judged=suite.pairwise is not None,
        slices=slice_names(suite.items, [question_of(item) for item in suite.items], suite.labels),
    )


def _sound_evaluation(written: object) -> tuple[EvaluateSpec | None, list[str]]:
    """What a recipe measures without what is wrong with that, and the names that are; None when that tells nothing."""
    given = written if isinstance(written, dict) else {}
    try:
        return EvaluateSpec.model_validate(given), []
    except ValidationError as error:
        places = {each["loc"][:2] for each in error.errors()}
    if any(not place or (place[0] in _LISTS and len(place) == 1) for place in places):
        return None, []
    wrong = [str(given[name][index]) for name, index in (place for place in places if place[0] in _LISTS)]
    left = {name: value for name, value in given.items() if name in _LISTS or all(name != at[0] for at in places)}
    for name in left.keys() & _LISTS:
        left[name] = [each for index, each in enumerate(given[name]) if (name, index) not in places]
    return _sound_evaluation(left)[0], wrong


def _written_rules(gate: object) -> Sequence[object]:
    """The rules as they are written; the default ones where there is no gate."""
    if gate is None:
        return GateSpec().rules
    rules = gate.get("rules", GateSpec().rules) if isinstance(gate, dict) else ()
    return rules if isinstance(rules, list | tuple) else ()


def _gauge(spec: MetricSpec) -> Gauge | None:
    """The metric's gauge; None when it cannot be made, which is said where the metric stands."""
    try:
        return gauge(load_metric(spec))
    except (NotFound, RecipeError):
        return None


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
