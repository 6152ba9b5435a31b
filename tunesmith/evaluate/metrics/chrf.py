"""chrf: overlap of character sequences with the reference over the whole set, as sacrebleu counts it."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from tunesmith.errors import MissingDependency
from tunesmith.evaluate.corpus_overlap import CorpusOverlap

__all__ = ["Chrf"]


class Chrf(CorpusOverlap):
    """sacrebleu's corpus chrF2 from 0 to 100 (Popović 2015): needs no tokenizer and forgives inflection.

    n-grams up to `char_order` characters, and `word_order` words (2 is chrF++), are summed over the rows. Of several
    right answers (`expect.answers`) the closest counts.
    """

    meaning: ClassVar[str] = "overlap of character sequences with the expected text over all rows, from 0 to 100"

    char_order: int = Field(default=6, ge=1)
    word_order: int = Field(default=0, ge=0)
    lowercase: bool = False

    def measure(self) -> Any:
        """As `CorpusOverlap` asks."""
        try:
            from sacrebleu.metrics.chrf import CHRF
        except ImportError:
            raise MissingDependency(
                "chrf needs the package sacrebleu.", hint="Install it with: pip install 'tunesmith[graders]'"
            ) from None
        return CHRF(char_order=self.char_order, word_order=self.word_order, lowercase=self.lowercase)
