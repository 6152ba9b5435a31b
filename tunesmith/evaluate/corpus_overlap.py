"""sacrebleu's corpus scores as metrics: its own statistics of each row are the terms, its own formula the value."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tunesmith.evaluate.metric import Floats
from tunesmith.evaluate.reference_texts import accepted
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["CorpusOverlap"]


class CorpusOverlap(Value):
    """A score of sacrebleu over all rows, from 0 to 100. All texts that are right for a row are its references; rows
    that expect no text are unscored."""

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "number"
    ends: ClassVar[tuple[float, float]] = (0.0, 100.0)

    @abstractmethod
    def measure(self) -> Any:
        """sacrebleu's own metric with these options. Raises MissingDependency without the package."""

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, K] statistics of each row: its n-gram matches, totals and lengths; NaN without a reference."""
        measure, references = self.measure(), [accepted(row) for row in predictions]
        counted = [
            measure._extract_corpus_statistics([row.answer], [[text] for text in right])[0] if right else None
            for row, right in zip(predictions, references, strict=True)
        ]
        width = next((len(counts) for counts in counted if counts is not None), 1)
        rows = [[np.nan] * width if counts is None else counts for counts in counted]
        return np.array(rows, dtype=np.float64).reshape(-1, width)

    def value(self, totals: Floats) -> Floats:
        """[..., K] -> [...] the corpus score of summed statistics; NaN where nothing was counted."""
        measure, flat = self.measure(), totals.reshape(-1, totals.shape[-1])
        # The lists are fresh: sacrebleu's smoothing writes into them.
        found = [measure._compute_score_from_stats(list(each)).score if each.any() else np.nan for each in flat]
        return np.array(found, dtype=np.float64).reshape(totals.shape[:-1])
