"""A score head: one linear map from the last token's hidden state to a number, trained beside an adapter.

It lives on the language model as `score`, the name that transformers' sequence classifiers use, and is saved beside the
adapter in a file of its own, so that the adapter stays one that any peft can load.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tunesmith.errors import ModelError

__all__ = ["HEAD_FILE", "SCORE", "add_score_head", "load_score_head", "save_score_head", "score_head"]

SCORE = "score.weight"
HEAD_FILE = "score_head.safetensors"


def add_score_head(model: Any) -> nn.Linear:
    """Put a trainable head of zeros in float32 on `model`: every score is 0 before the first step."""
    inner = _inner(model)
    weight = inner.get_output_embeddings().weight
    head = nn.Linear(weight.shape[1], 1, bias=False, dtype=torch.float32, device=weight.device)
    nn.init.zeros_(head.weight)
    inner.score = head
    return head


def score_head(model: Any) -> nn.Linear | None:
    """The head on `model`, or None."""
    head = getattr(_inner(model), "score", None)
    return head if isinstance(head, nn.Linear) else None


def save_score_head(weight: torch.Tensor, folder: Path) -> None:
    """Write the head's weight [1, H] beside the adapter in `folder`."""
    save_file({SCORE: weight.detach().cpu().contiguous()}, folder / HEAD_FILE, metadata={"format": "pt"})


def load_score_head(model: Any, folder: Path) -> nn.Linear:
    """Put the head saved in `folder` on `model`. Raises ModelError when there is none or it does not fit."""
    if not (folder / HEAD_FILE).is_file():
        raise ModelError(
            f"{folder} has no score head ({HEAD_FILE}).", hint="Only a model trained with the reward objective has one."
        )
    weight = load_file(folder / HEAD_FILE)[SCORE]
    head = add_score_head(model)
    if weight.shape != head.weight.shape:
        raise ModelError(f"The score head in {folder} has {weight.shape[1]} inputs, the model {head.weight.shape[1]}.")
    with torch.no_grad():
        head.weight.copy_(weight)
    return head.requires_grad_(False)


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
