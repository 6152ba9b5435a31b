"""BERTScore and cosine: how alike two texts are, given the vectors of their tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Matched", "greedy_matching", "pooled_cosine"]

Vectors = NDArray[np.float32]


class Matched(NamedTuple):
    """BERTScore's precision, recall and F1."""

    precision: float
    recall: float
    f1: float


def greedy_matching(answer: Vectors, reference: Vectors) -> Matched | None:
    """BERTScore of [A, H] against [R, H] (Zhang et al. 2020, arXiv:1904.09675, section 3); None when one is empty.

    Recall is the mean over the reference's tokens of their largest cosine with a token of the answer, precision the
    mean over the answer's tokens of theirs, F1 the harmonic mean. Without idf weights and without rescaling.
    """
    if not len(answer) or not len(reference):
        return None
    cosines = _unit(answer) @ _unit(reference).T
    precision, recall = float(cosines.max(axis=1).mean()), float(cosines.max(axis=0).mean())
    joined = precision + recall
    return Matched(precision, recall, 2.0 * precision * recall / joined if joined > 0.0 else 0.0)


def pooled_cosine(answer: Vectors, reference: Vectors) -> float | None:
    """Cosine of the mean vectors of two texts; None when one is empty or its mean has no direction."""
    if not len(answer) or not len(reference):
        return None
    one, other = answer.mean(axis=0), reference.mean(axis=0)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else None


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
