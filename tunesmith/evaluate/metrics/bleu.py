"""bleu: overlap of word sequences with the reference over the whole set, as sacrebleu counts it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from tunesmith.errors import MissingDependency
from tunesmith.evaluate.corpus_overlap import CorpusOverlap

__all__ = ["Bleu"]


class Bleu(CorpusOverlap):
    """sacrebleu's corpus BLEU from 0 to 100 (Papineni et al. 2002; Post 2018, arXiv:1804.08771).

    n-gram matches up to four words are summed over the rows before they are divided, so it is no mean of rows. With
    further right answers (`expect.answers`) it is multi-reference BLEU. `tokenize` is sacrebleu's tokenizer; smoothing
    is its default, exponential.
    """

    meaning: ClassVar[str] = "overlap of word sequences with the expected text over all rows, from 0 to 100"

    tokenize: Literal["13a", "char", "intl", "none", "zh"] = "13a"
    lowercase: bool = False

    def measure(self) -> Any:
        """As `CorpusOverlap` asks."""
        try:
            from sacrebleu.metrics.bleu import BLEU
        except ImportError:
            raise MissingDependency(
                "bleu needs the package sacrebleu.", hint="Install it with: pip install 'tunesmith[graders]'"
            ) from None
        return BLEU(tokenize=self.tokenize, lowercase=self.lowercase, force=True)
