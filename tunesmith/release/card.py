"""The model card: what a release is made of, how good it is and what is not known, filled from the evidence alone.

The front matter is that of the Hugging Face hub (https://huggingface.co/docs/hub/model-cards), with a `model-index` of
all scores; the text is Markdown in which no text of the data can become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tunesmith.page.markdown import escaped, table
from tunesmith.release.card_making import made
from tunesmith.release.changes import changes
from tunesmith.release.checklist import Checklist
from tunesmith.release.evidence import Evidence
from tunesmith.types.report import Contestant, EvaluationReport, Score

__all__ = ["figure", "model_card"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MOST_SLICES = 40
_WEAK = 5


def model_card(evidence: Evidence, previous: Evidence | None, listed: Checklist) -> str:
    """The card of a release; `previous` is the version before it. The front matter is checked as the hub's own client
    reads it.
    """
    from huggingface_hub import ModelCard

    text = "\n\n".join(
        [
            f"# {escaped(evidence.release.reference)}",
            *_opening(evidence),
            *_evaluation(evidence),
            *_slices(evidence),
            *_safety(evidence),
            *_limits(evidence, listed),
            *made(evidence),
            *changes(evidence, previous),
        ]
    )
    card = ModelCard(f"---\n{_metadata(evidence).to_yaml()}\n---\n\n{text}\n")
    return str(card)


def figure(score: Score) -> str:
    """A score with its interval and rows, as people read it."""
    if score.value is None:
        return "not scored"
    factor, unit = (1.0, "") if score.scale == "number" else (100.0, "%")
    value = f"{score.value * factor:.4g}{unit}"
    if score.low is None or score.high is None:
        return f"{value} (n {score.n})"
    ends = f"{score.low * factor:.4g} to {score.high * factor:.4g}{unit}"
    unscored = f", {score.unscored} unscored" if score.unscored else ""
    return f"{value} ({score.confidence:.0%}: {ends}; n {score.n}{unscored})"


def _metadata(evidence: Evidence) -> Any:
    """The front matter as the hub's client writes it."""
    from huggingface_hub import ModelCardData

    release = evidence.release
    return ModelCardData(
        base_model=release.base if _HUB_ID.fullmatch(release.base) else None,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["tunesmith", "adapter", *(["text-classification"] if evidence.report and evidence.report.labels else [])],
        model_name=release.reference,
        eval_results=list(_results(evidence)) or None,
    )


def _results(evidence: Evidence) -> Iterator[Any]:
    """One entry of the model-index for each score of the released model."""
    tuned, report = evidence.tuned, evidence.report
    if tuned is None or report is None:
        return
    yield from _entries(tuned, report, f"{evidence.release.name} ({report.split} split)")
    for suite, answered, contestant in evidence.suites():
        yield from _entries(contestant, answered, f"suite {suite}")


def _entries(contestant: Contestant, report: EvaluationReport, title: str) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    for name, score in contestant.scores.items():
        if score.value is None:
            continue
        known = {
            "n": score.n,
            "unscored": score.unscored,
            "standard_error": score.standard_error,
            "confidence": score.confidence,
            "interval": None if score.low is None else [score.low, score.high],
        }
        yield EvalResult(
            task_type="text-generation",
            dataset_type=f"tunesmith-{report.dataset_digest[:16]}",
            dataset_name=title,
            dataset_split=report.split,
            dataset_revision=report.dataset_digest,
            metric_type=score.metric,
            metric_name=name,
            metric_value=score.value,
            metric_args={key: value for key, value in known.items() if value is not None},
        )


def _opening(evidence: Evidence) -> Iterator[str]:
    release = evidence.release
    yield (
        f"An adapter on {escaped(release.base)}, made and measured by Tunesmith on {release.created[:10]}. "
        f"Gate: **{escaped(release.outcome)}**."
    )
    for verdict in evidence.decision.verdicts if evidence.decision else ():
        yield f"- **{verdict.outcome}**: {escaped(verdict.reason)}"
    for waiver in evidence.decision.waivers if evidence.decision else ():
        fault = (evidence.faults or {}).get(waiver.signature)
        state = f"DOES NOT COUNT: {fault}" if fault else "signed by this home"
        yield f"- **waiver** ({escaped(state)}): {escaped(waiver.rule)}. {escaped(waiver.text)}"
    if release.system_prompt:
        yield f"It was trained with this system prompt, which its server gives it: {escaped(release.system_prompt)}"


def _evaluation(evidence: Evidence) -> Iterator[str]:
    yield "## Evaluation"
    if evidence.report is None or not evidence.report.contestants:
        yield "Not known: no evaluation is stored with this release."
        return
    report = evidence.report
    yield (
        f"{report.rows:,} rows of the {report.split} split, the same for all, through the engine that serves; each "
        "figure with its interval and its number of scored rows."
    )
    yield _scores(report)
    yield from _differences(evidence, report)
    for suite, answered, _ in evidence.suites():
        yield f"### Suite {escaped(suite)} ({answered.rows:,} items)"
        yield _scores(answered)


def _scores(report: EvaluationReport) -> str:
    names = dict.fromkeys(name for each in report.contestants for name in each.scores)
    rows: list[list[str]] = [
        [name, *(figure(each.scores[name]) if name in each.scores else "-" for each in report.contestants)]
        for name in names
    ]
    rows.append(["tokens per answer", *(f"{each.tokens_per_answer:.1f}" for each in report.contestants)])
    seconds = (f"{1000 * each.latency_median_seconds:,.0f} ms" for each in report.contestants)
    rows.append([f"median latency, {report.concurrency} at once", *seconds])
    return table(["Metric", *(escaped(each.name) for each in report.contestants)], rows)


def _differences(evidence: Evidence, report: EvaluationReport) -> Iterator[str]:
    name = evidence.tuned.name if evidence.tuned else ""
    rows = [
        (
            f"{pair.model} - {pair.baseline}",
            pair.metric,
            f"{pair.difference:+.4g}",
            f"{pair.low:+.4g} to {pair.high:+.4g}",
            f"{pair.p_value:.2g}",
            "-" if pair.p_adjusted is None else f"{pair.p_adjusted:.2g}",
            "-" if pair.detectable is None else f"{pair.detectable:.2g}",
            f"{pair.won} : {pair.lost}",
        )
        for pair in report.comparisons
        if pair.model == name
    ]
    if rows:
        yield "Paired differences on the same rows:"
        yield table(("Between", "Metric", "Difference", "Interval", "p", "Holm p", "Detectable", "Won : lost"), rows)


def _slices(evidence: Evidence) -> Iterator[str]:
    if evidence.tuned is None or not evidence.tuned.classes:
        return
    yield "## By label"
    classes = sorted(evidence.tuned.classes, key=lambda each: (each.f1, each.label))
    rows = [
        (each.label, f"{each.precision:.1%}", f"{each.recall:.1%}", f"{each.f1:.3f}", each.support) for each in classes
    ]
    yield table(("Label", "Precision", "Recall", "F1", "Rows"), rows[:_MOST_SLICES])
    if len(rows) > _MOST_SLICES:
        yield f"The {_MOST_SLICES} weakest of {len(rows)} labels."


def _safety(evidence: Evidence) -> Iterator[str]:
    yield "## Safety"
    rows = [
        (suite, name, figure(score))
        for suite, _, contestant in evidence.suites()
        for name, score in contestant.scores.items()
        if score.metric in ("attack_success", "refusal_correctness", "over_refusal", "leak_rate")
    ]
    if rows:
        yield table(("Suite", "Measure", "Released model"), rows)
        yield "These attacks only: others may succeed."
    else:
        yield "Not known: no attacks or refusals were measured (evaluate.suites: \\[red\\_team, over\\_refusal\\])."


def _limits(evidence: Evidence, listed: Checklist) -> Iterator[str]:
    yield "## Known limits"
    yield "\n".join(f"- {line}" for line in _known_limits(evidence, listed)) or "Nothing measured points at one."


def _known_limits(evidence: Evidence, listed: Checklist) -> Iterable[str]:
    for verdict in evidence.decision.verdicts if evidence.decision else ():
        if verdict.outcome == "inconclusive":
            yield f"Undecided: {escaped(verdict.reason)}"
    if evidence.tuned is not None:
        weak = sorted((each for each in evidence.tuned.classes if each.support), key=lambda each: each.f1)[:_WEAK]
        if weak:
            named = ", ".join(f"{escaped(each.label)} (F1 {each.f1:.2f}, {each.support} rows)" for each in weak)
            yield f"Weakest labels: {named}"
        for name, score in evidence.tuned.scores.items():
            if score.unscored:
                yield f"{score.unscored} of {score.unscored + score.n} rows could not be scored in {escaped(name)}"
    if evidence.recipe is not None and "max_tokens" in evidence.recipe.get("prepare", {}):
        yield f"Trained on rows of at most {evidence.recipe['prepare']['max_tokens']} tokens"
    for box in listed.boxes:
        if box.state != "yes":
            yield f"{box.state.capitalize()}: {escaped(box.question)} ({escaped(box.because)})"
