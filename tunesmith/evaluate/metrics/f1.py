"""f1: the balance of precision and recall."""

from __future__ import annotations

from typing import ClassVar

from tunesmith.evaluate.label_counts import Counts, OfLabels
from tunesmith.evaluate.metric import Floats

__all__ = ["F1"]


class F1(OfLabels):
    """2 hits / (rows of a label + answers of it). References a, a, b answered a, b, b: a 2/3, b 2/3, macro 2/3.

    `average` joins the labels: macro counts each label fully, weighted by how often it is the reference, micro pools
    all answers. `only` measures one label alone. A label that was never answered right counts 0, as in scikit-learn
    with `zero_division=0`; an invalid answer is an answer of no label. Rows whose reference is no known label are
    unscored.
    """

    meaning: ClassVar[str] = "balance of false alarms and misses of each label, averaged over labels"
    of_two: ClassVar[bool] = True

    def parts(self, counts: Counts) -> tuple[Floats, Floats]:
        """2 hits / (references + answers)"""
        return 2.0 * counts.hits, counts.references + counts.answers
