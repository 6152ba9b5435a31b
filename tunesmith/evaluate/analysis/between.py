"""Two evaluations of the same suite at different times, set side by side."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.errors import EvaluationError, NotFound, nearest
from tunesmith.evaluate.compare import compare_all
from tunesmith.types.report import Comparison, Contestant, EvaluationReport

__all__ = ["between", "is_worse"]


def between(
    before: Mapping[str, EvaluationReport], after: Mapping[str, EvaluationReport], model: str | None
) -> dict[str, EvaluationReport]:
    """For each suite of both: a report with one model (default: the last) as it was before and as it is after.

    Raises EvaluationError when they have no suite in common or a suite's items differ, NotFound for an unknown model.
    """
    common = [name for name in after if name in before]
    if not common:
        raise EvaluationError(f"No suite in common: {', '.join(before)} before, {', '.join(after)} after.")
    merged = {}
    for name in common:
        old, new = before[name], after[name]
        contestants = (_named(old, model, "before"), _named(new, model, "after"))
        items = [[row.example_id for row in each.predictions] for each in contestants]
        if items[0] != items[1]:
            raise EvaluationError(
                f"The suite {name} was asked with other items ({len(items[0])} before, {len(items[1])} after).",
                hint="Evaluate both with the same suite file and the same --limit.",
            )
        _require_same_questions(name, old, new)
        comparisons = compare_all(contestants, new.labels, new.confidence)
        merged[name] = new.model_copy(update={"contestants": contestants, "comparisons": comparisons})
    return merged


def _require_same_questions(name: str, old: EvaluationReport, new: EvaluationReport) -> None:
    """Raises EvaluationError where an item kept its id and changed: two answers to two questions do not compare."""
    expected = [{row.example_id: row.reference for row in each.contestants[-1].predictions} for each in (old, new)]
    changed = [
        item
        for item, reference in expected[0].items()
        if reference != expected[1][item] or old.questions.get(item) != new.questions.get(item)
    ]
    if changed:
        listed = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise EvaluationError(
            f"The suite {name} asks something else under the ids {listed} than before.",
            hint="Evaluate both with the same suite file, or give the changed items other ids.",
        )


def is_worse(comparison: Comparison) -> bool:
    """Whether the later model is worse beyond chance."""
    gain = comparison.difference if comparison.better == "higher" else -comparison.difference
    return comparison.rows_for_decision is None and gain < 0


def _named(report: EvaluationReport, model: str | None, when: str) -> Contestant:
    names = [each.name for each in report.contestants]
    if model is not None and model not in names:
        close = nearest(model, names)
        hint = f"Did you mean {close!r}? " if close else ""
        raise NotFound(f"{model!r} did not answer {report.split}.", hint=f"{hint}It has: {', '.join(names)}")
    chosen = report.contestant(model) if model is not None else report.contestants[-1]
    return chosen.model_copy(update={"name": f"{when}: {chosen.name}"})
