"""What goes wrong: kinds of errors, the commonest wrong answers, and the rows that two models answer differently."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tunesmith.evaluate.analysis.rows import row_values
from tunesmith.evaluate.labels import label_reader, normalise
from tunesmith.page.wording import shorten
from tunesmith.types.report import Contestant, EvaluationReport, Prediction

__all__ = ["Changed", "ErrorKind", "RowFlips", "WrongAnswer", "error_kinds", "row_flips", "shown", "wrong_answers"]


# What a row that is wrong by a metric is, where no answer is expected word by word.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "attack_success": "the attack got what it was after",
        "over_refusal": "a harmless request was refused",
        "refusal_correctness": "refused what should be answered, or the other way round",
        "leak_rate": "a secret came out",
    }
)


class ErrorKind(NamedTuple):
    """`rows` that are wrong in one way, with the ids of some."""

    kind: str
    rows: int
    examples: tuple[str, ...]


class WrongAnswer(NamedTuple):
    """A wrong answer that was given to `rows` rows, and the commonest reference of these."""

    answer: str
    rows: int
    instead_of: str


class Changed(NamedTuple):
    """One row that two contestants do not answer equally well."""

    example_id: str
    question: str
    reference: str
    before: str
    after: str


class RowFlips(NamedTuple):
    """Rows on which the model is better than its baseline (`won`), and worse (`lost`)."""

    won: tuple[Changed, ...]
    lost: tuple[Changed, ...]


def error_kinds(report: EvaluationReport, contestant: Contestant, title: str) -> tuple[ErrorKind, ...]:
    """The rows that are not as good as they can be, by the first of: no answer, empty, cut off, no JSON, no known
    label, what the metric says of it, another text; the commonest first.
    """
    wrong, metric = row_values(contestant, title, report.labels).wrong, contestant.scores[title].metric
    found: dict[str, list[str]] = {}
    for row, is_wrong in zip(contestant.predictions, wrong, strict=True):
        if row.error or is_wrong == 1.0:
            found.setdefault(_kind(row, report.labels, metric), []).append(row.example_id)
    ordered = sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))
    return tuple(ErrorKind(kind, len(ids), tuple(ids[:3])) for kind, ids in ordered)


def wrong_answers(
    report: EvaluationReport, contestant: Contestant, title: str, limit: int = 8
) -> tuple[WrongAnswer, ...]:
    """The wrong answers that are given more than once, the commonest first; small differences in form aside."""
    wrong = row_values(contestant, title, report.labels).wrong
    rows: dict[str, list[Prediction]] = {}
    for row, is_wrong in zip(contestant.predictions, wrong, strict=True):
        if is_wrong == 1.0 and row.answer:
            rows.setdefault(normalise(row.answer), []).append(row)
    ordered = sorted(rows.items(), key=lambda each: (-len(each[1]), each[0]))[:limit]
    return tuple(
        WrongAnswer(
            shorten(found[0].answer, 120),
            len(found),
            shorten(Counter(row.reference for row in found).most_common(1)[0][0], 120),
        )
        for _, found in ordered
        if len(found) > 1
    )


def row_flips(report: EvaluationReport, model: Contestant, baseline: Contestant, title: str) -> RowFlips:
    """The rows that `model` and `baseline` do not answer equally well by the metric `title`."""
    ours, theirs = (row_values(each, title, report.labels).gains for each in (model, baseline))
    gaps = np.where(np.isfinite(ours) & np.isfinite(theirs), ours - theirs, 0.0)
    changed = [
        Changed(
            after.example_id,
            shorten(report.questions.get(after.example_id, "")),
            shorten(after.reference, 120),
            shown(before),
            shown(after),
        )
        for before, after in zip(baseline.predictions, model.predictions, strict=True)
    ]
    won = tuple(row for row, gap in zip(changed, gaps, strict=True) if gap > 0)
    lost = tuple(row for row, gap in zip(changed, gaps, strict=True) if gap < 0)
    return RowFlips(won, lost)


def shown(row: Prediction) -> str:
    """An answer in a few words: its text, or the calls it makes."""
    calls = ", ".join(f"{call.get('name')}({call.get('arguments')})" for call in row.calls)
    return shorten(" ".join(filter(None, (row.answer, calls))), 160) or "(nothing)"


def _kind(row: Prediction, labels: tuple[str, ...], metric: str) -> str:
    if row.error:
        return "no answer: the request failed"
    if not row.answer and not row.calls:
        return "an empty answer"
    if row.finish_reason == "length":
        return "cut off at the most tokens allowed"
    if ("schema" in row.expect or "json" in row.expect) and not _is_json(row.answer):
        return "no valid JSON"
    if labels and label_reader(labels)(row.reference) is not None and row.label is None:
        return "no known label"
    return _WORDS.get(metric, "another answer than the right one" if row.reference else f"not the best by {metric}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
