"""The table that says whether a judge agrees with people."""

from __future__ import annotations

from tunesmith.evaluate.report import wording
from tunesmith.types.report import EvaluationReport

__all__ = ["AGREEMENT_HEADS", "agreement_rows"]

AGREEMENT_HEADS = ("Judge", "Metric", "Answers", "Same points", "Cohen's kappa", "Krippendorff's alpha", "Unscored")
"""Of the table that says whether a judge agrees with people."""


def agreement_rows(evaluation: EvaluationReport) -> list[tuple[str, ...]]:
    """How far each judge agrees with people, in the order of `AGREEMENT_HEADS`."""
    return [
        (
            each.judge,
            wording.name(each.metric),
            f"{each.n:,}",
            wording.amount(each.equal, "share"),
            " ".join(filter(None, (wording.coefficient(each.kappa), wording.error_of(each.standard_error)))),
            wording.coefficient(each.alpha),
            f"{each.unscored:,}",
        )
        for each in evaluation.agreements
    ]
