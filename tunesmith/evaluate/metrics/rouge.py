"""rouge: overlap of words with the reference, balanced between saying all of it and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from tunesmith.errors import MissingDependency
from tunesmith.evaluate.metric import Floats, ratio
from tunesmith.evaluate.reference_texts import compared
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["Rouge"]


class Rouge(Value):
    """Mean over rows of the F-measure of ROUGE (Lin 2004), computed by rouge-score.

    `kind`: rouge1 single words, rouge2 pairs, rougeL the longest common subsequence. Its tokenizer keeps letters a to z
    and digits only: texts in other alphabets need `chrf`. Of several right answers (`expect.answers`) the closest
    counts. Rows that expect no text are unscored.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "overlap of words with the expected text (F-measure), averaged over rows"

    kind: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    stem: bool = False

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (F-measure, 1)."""
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError:
            raise MissingDependency(
                "rouge needs the package rouge-score.", hint="Install it with: pip install 'tunesmith[graders]'"
            ) from None
        scorer = RougeScorer([self.kind], use_stemmer=self.stem)

        def closest(said: str, right: tuple[str, ...]) -> float:
            return max(float(scorer.score(text, said)[self.kind].fmeasure) for text in right)

        return compared(predictions, closest)

    def value(self, totals: Floats) -> Floats:
        """Mean F-measure."""
        return ratio(totals[..., 0], totals[..., 1])
