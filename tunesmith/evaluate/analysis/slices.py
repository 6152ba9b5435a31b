"""Slices: the same figures on parts of the items, and where more training rows would help most."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tunesmith.documents import choices
from tunesmith.errors import NotFound
from tunesmith.evaluate.analysis.rows import row_values, spec_of
from tunesmith.evaluate.compare import compare_all
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.scoring import class_scores, confusions, score
from tunesmith.types.report import Contestant, EvaluationReport, Prediction, Score
from tunesmith.types.suite import Item

__all__ = ["FEWEST_ROWS", "Help", "Slice", "most_helpful", "slice_names", "sliced", "slices", "tags_of"]

FEWEST_ROWS = 5
MOST_PARTS = 12
LENGTHS = ((20, "up to 20 words"), (100, "21 to 100 words"), (10**9, "more than 100 words"))


class Slice(NamedTuple):
    """The rows whose `tag` is `part`, and each contestant's score on them."""

    tag: str
    part: str
    rows: int
    scores: dict[str, Score]


class Help(NamedTuple):
    """A part of the items on which a contestant is worse than on the whole.

    `excess` is how many of its `wrong` rows would be right if it were as good here as on the whole.
    """

    tag: str
    part: str
    rows: int
    wrong: int
    excess: float


def tags_of(row: Prediction | Item, question: str, labels: tuple[str, ...]) -> dict[str, str]:
    """The slices of a row: its item's tags, and what can be told of it: label, length of the question, contexts."""
    words = len(question.split())
    found = dict(row.tags)
    found.setdefault("length", next(name for most, name in LENGTHS if words <= most))
    label = label_reader(labels)(row.reference) if labels else None
    if label is not None:
        found.setdefault("label", label)
    contexts = row.expect.get("contexts")
    if isinstance(contexts, list):
        found.setdefault("context chunks", str(len(contexts)))
    return found


def slices(report: EvaluationReport, title: str) -> tuple[Slice, ...]:
    """The metric `title` on every part with at least five rows; tags that divide nothing are left out."""
    found = []
    for tag, part, places in _parts(report):
        scores = {
            each.name: score(
                spec_of(each.scores[title], title),
                [each.predictions[place] for place in places],
                report.labels,
                report.confidence,
            )
            for each in report.contestants
        }
        found.append(Slice(tag, part, len(places), scores))
    return tuple(found)


def slice_names(
    rows: Sequence[Prediction | Item], questions: Sequence[str], labels: tuple[str, ...]
) -> tuple[str, ...]:
    """Every slice that one of the rows is in, as `TAG=PART`."""
    return tuple(f"{tag}={part}" for tag, parts in _places(rows, questions, labels).items() for part in sorted(parts))


def sliced(report: EvaluationReport, name: str) -> EvaluationReport:
    """The report of the rows in the slice `name` (`TAG=PART`) alone: every score and comparison measured on them.

    A judge's verdicts on pairs and its agreement with people are left out. Raises NotFound for a slice that no row is
    in, with the nearest match.
    """
    tag, _, part = name.partition("=")
    rows = report.contestants[0].predictions if report.contestants else ()
    found = _places(rows, [report.questions.get(row.example_id, "") for row in rows], report.labels)
    if part not in found.get(tag, {}):
        there = [f"{tag}={each}" for each in found.get(tag, {})] or [f"{tag}=..." for tag in found]
        raise NotFound(f"The evaluation has no slice {name!r}.", hint=choices(name, there))
    places = found[tag][part]
    contestants = tuple(_narrowed(each, places, report) for each in report.contestants)
    return report.model_copy(
        update={
            "rows": len(places),
            "contestants": contestants,
            "comparisons": compare_all(contestants, report.labels, report.confidence),
            "questions": {rows[place].example_id: report.questions.get(rows[place].example_id, "") for place in places},
            "wins": (),
            "agreements": (),
        }
    )


def _narrowed(contestant: Contestant, places: Sequence[int], report: EvaluationReport) -> Contestant:
    rows = tuple(contestant.predictions[place] for place in places)
    answered = [row for row in rows if not row.error]
    scores = {
        title: score(spec_of(found, title), rows, report.labels, report.confidence)
        for title, found in contestant.scores.items()
    }
    return contestant.model_copy(
        update={
            "scores": scores,
            "classes": class_scores(answered, report.labels),
            "confusions": confusions(answered, report.labels),
            "tokens_per_answer": statistics.fmean(row.tokens for row in answered) if answered else 0.0,
            "latency_median_seconds": statistics.median(row.seconds for row in answered) if answered else 0.0,
            "predictions": rows,
        }
    )


def most_helpful(report: EvaluationReport, contestant: Contestant, title: str, limit: int = 8) -> tuple[Help, ...]:
    """The parts where rows like them would help `contestant` most: those with the most errors above its own average."""
    wrong = row_values(contestant, title, report.labels).wrong
    if not np.isfinite(wrong).any():
        return ()
    average = float(np.nanmean(wrong))
    found = []
    for tag, part, places in _parts(report):
        here = wrong[places][np.isfinite(wrong[places])]
        excess = float(here.sum() - average * len(here))
        if excess >= 1.0:
            found.append(Help(tag, part, len(here), int(here.sum()), excess))
    return tuple(sorted(found, key=lambda each: (-each.excess, each.tag, each.part))[:limit])


def _parts(report: EvaluationReport) -> Iterator[tuple[str, str, list[int]]]:
    """(tag, part, places of its rows), the largest parts first."""
    rows = report.contestants[0].predictions
    questions = [report.questions.get(row.example_id, "") for row in rows]
    for tag, parts in _places(rows, questions, report.labels).items():
        if len(parts) < 2:
            continue
        large = sorted(parts.items(), key=lambda each: (-len(each[1]), each[0]))[:MOST_PARTS]
        yield from ((tag, part, found) for part, found in large if len(found) >= FEWEST_ROWS)


def _places(
    rows: Sequence[Prediction | Item], questions: Sequence[str], labels: tuple[str, ...]
) -> dict[str, dict[str, list[int]]]:
    """tag -> part -> the places of its rows."""
    places: dict[str, dict[str, list[int]]] = {}
    for place, (row, question) in enumerate(zip(rows, questions, strict=True)):
        for tag, part in tags_of(row, question, labels).items():
            places.setdefault(tag, {}).setdefault(part, []).append(place)
    return places
