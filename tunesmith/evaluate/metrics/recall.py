"""recall: how often a label is found where it is right."""

from __future__ import annotations

from typing import ClassVar

from tunesmith.evaluate.label_counts import Counts, OfLabels
from tunesmith.evaluate.metric import Floats

__all__ = ["Recall"]


class Recall(OfLabels):
    """Right answers of a label / rows of it. References a, a, b answered a, b, b: a 1/2, b 1/1, macro 3/4.

    `average` joins the labels: macro counts each label fully, weighted by how often it is the reference, micro pools
    all answers. `only` measures one label alone. A label that was never the reference counts 0, as in scikit-learn with
    `zero_division=0`; an invalid answer is an answer of no label. Rows whose reference is no known label are unscored.
    """

    meaning: ClassVar[str] = "how often a label is found where it is right, averaged over labels"

    def parts(self, counts: Counts) -> tuple[Floats, Floats]:
        """hits / references"""
        return counts.hits, counts.references
