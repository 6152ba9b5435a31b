"""Finds rows that say nearly the same: MinHash signatures, candidates by bands, every verdict measured on the texts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tunesmith.prepare.minhash import PERMUTATIONS, MinHash, Signatures, agreement, band_keys, rows_per_band
from tunesmith.prepare.near import Candidates, Clusters, candidate_pairs, cluster, in_order, judgement, spread
from tunesmith.prepare.shingles import Hashes, jaccard, shingles
from tunesmith.prepare.step import Judgement, RowsSeen
from tunesmith.prepare.texts import answers, question, spoken
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["NearDuplicates"]

_DIGEST = 8
_KEPT_IN_MEMORY = 20_000


class NearDuplicates(Value):
    """Rows whose texts have a Jaccard similarity of `threshold` or more, as sets of shingles.

    A shingle is a run of `size` characters (or words) of the text, case and white space aside. `of`: the whole row
    without system messages, or only its question (rows that ask alike, whatever is answered). `action`: drop keeps the
    first row of those alike (test before validation before the rest); report keeps all, and says which belong together,
    which a split by group uses.
    """

    threshold: float = Field(default=0.8, ge=0.3, le=1.0)
    of: Literal["row", "question", "answer"] = "row"
    unit: Literal["characters", "words"] = "characters"
    size: int = Field(default=5, ge=1, le=50)
    action: Literal["drop", "report"] = "drop"

    def open(self, folder: Path) -> Callable[[Row], bytes]:
        """The measure: 8 bytes of a digest of the row's shingles (0: no text), then its signature."""
        minhash = MinHash()

        def measure(row: Row) -> bytes:
            hashes = self._shingles(row)
            if not len(hashes):
                return bytes(_DIGEST + 2 * PERMUTATIONS)
            digest = hashlib.blake2b(hashes.tobytes(), digest_size=_DIGEST).digest()
            return digest + minhash.signature(hashes).tobytes()

        return measure

    def judge(self, measures: npt.NDArray[np.uint8], rows: RowsSeen) -> Judgement:
        """Reasons: near_duplicate, near_duplicate_of_test, near_duplicate_of_validation."""
        order = in_order(rows.splits)
        digests = measures[:, :_DIGEST].copy().view(np.uint64)[order, 0]
        first = _first_equal(digests)
        distinct = np.unique(first)
        signatures = measures[:, _DIGEST:][order[distinct]].view(np.uint16)
        drop = self.action == "drop"
        found = self._cluster(signatures, order[distinct], rows, drop=drop)
        return judgement(spread(found, first), order, rows, "near_duplicate", drop=drop)

    def _cluster(self, signatures: Signatures, index: npt.NDArray[np.int64], rows: RowsSeen, *, drop: bool) -> Clusters:
        """The clusters of distinct rows; `index` [D] says which rows they are."""
        pairs = candidate_pairs(band_keys(signatures, rows_per_band(self.threshold)), len(index))
        # Pairs that the signatures put three standard errors below the threshold are not measured.
        margin = 3 * math.sqrt(self.threshold * (1 - self.threshold) / PERMUTATIONS)
        likely = agreement(signatures, pairs.earlier, pairs.later) >= self.threshold - margin
        pairs = Candidates(pairs.earlier[likely], pairs.later[likely])

        @lru_cache(maxsize=_KEPT_IN_MEMORY)
        def hashes(place: int) -> Hashes:
            return self._shingles(rows.content(int(index[place])))

        return cluster(
            pairs, len(index), lambda one, other: jaccard(hashes(one), hashes(other)), self.threshold, drop=drop
        )

    def _shingles(self, row: Row) -> Hashes:
        texts = {"row": spoken, "question": question, "answer": _answered}
        return shingles(texts[self.of](row), self.unit, self.size)


def _answered(row: Row) -> str:
    return "\n".join(answers(row))


def _first_equal(digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """For each row the first with the same digest; rows without text equal only themselves."""
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    return np.where(digests == 0, np.arange(len(digests)), first[which])
