"""MinHash signatures and the bands that make similar ones meet (Broder 1997; Leskovec et al., MMDS chapter 3).

With probability equal to their Jaccard similarity, two sets have the same least hash under a random permutation. A
signature keeps, for each of `PERMUTATIONS` permutations, 16 bits of the least hash: unequal ones agree by chance once
in 65,536. Signatures whose rows agree in a whole band become candidates.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tunesmith.prepare.shingles import Hashes

__all__ = ["PERMUTATIONS", "MinHash", "Signatures", "agreement", "band_keys", "rows_per_band"]

PERMUTATIONS = 128
_RECALL = 0.99
_SEED = 1

Signatures = npt.NDArray[np.uint16]


class MinHash:
    """Makes signatures; every instance makes the same."""

    def __init__(self) -> None:
        random = np.random.default_rng(_SEED)
        self._factors = random.integers(0, 2**32, size=(PERMUTATIONS, 1), dtype=np.uint32) | np.uint32(1)
        self._offsets = random.integers(0, 2**32, size=(PERMUTATIONS, 1), dtype=np.uint32)

    def signature(self, hashes: Hashes) -> Signatures:
        """[PERMUTATIONS] for a set of hashes; all zero for the empty set."""
        if not len(hashes):
            return np.zeros(PERMUTATIONS, dtype=np.uint16)
        permuted = self._factors * hashes
        permuted += self._offsets
        return permuted.min(axis=1).astype(np.uint16)


def rows_per_band(threshold: float) -> int:
    """The most rows a band can have so that sets exactly as alike as `threshold` still meet with 99% probability.

    With r rows in each of b = PERMUTATIONS / r bands they meet with probability 1 - (1 - threshold^r)^b; more rows make
    fewer false candidates.
    """
    fits = (r for r in range(16, 0, -1) if 1 - (1 - threshold**r) ** (PERMUTATIONS // r) >= _RECALL)
    return next(fits, 1)


def band_keys(signatures: Signatures, rows: int) -> Iterator[npt.NDArray[np.uint64]]:
    """For each band one key per signature [N]; equal bands have equal keys."""
    for start in range(0, PERMUTATIONS - rows + 1, rows):
        keys = np.zeros(len(signatures), dtype=np.uint64)
        for column in range(start, start + rows):
            keys = (keys ^ signatures[:, column]) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
        yield keys


def agreement(
    signatures: Signatures, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Estimated similarity of each pair (signature first[i], signature second[i]); standard error at most 0.045."""
    pieces = 1 << 16
    parts = [
        np.count_nonzero(
            signatures[first[start : start + pieces]] == signatures[second[start : start + pieces]], axis=1
        )
        for start in range(0, len(first), pieces)
    ]
    return np.concatenate(parts) / PERMUTATIONS if parts else np.zeros(0)
