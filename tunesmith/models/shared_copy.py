"""Several models around the same tensors: a structural copy, and the proof that nobody wrote into what is shared."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["content_hash", "shared_copy"]


def shared_copy(model: Any) -> Any:
    """Another `model` in the same memory, nothing in it trainable: replacing a module, a parameter or a parameter's
    data in it changes nothing in the original. (Writing into a tensor would; `content_hash` tells.)
    """
    shared: dict[int, Any] = {id(tensor): tensor.detach() for tensor in model.buffers()}
    shared |= {id(tensor): nn.Parameter(tensor.detach(), requires_grad=False) for tensor in model.parameters()}
    return copy.deepcopy(model, shared)


def content_hash(model: Any) -> tuple[int, ...]:
    """One number per tensor of `model`, the exclusive or of its 64-bit words; writing into a tensor changes it."""
    return tuple(_words(tensor) for tensor in chain(model.parameters(), model.buffers()))


def _words(tensor: Tensor) -> int:
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    whole = len(flat) // 8 * 8
    return _hash(flat[:whole].view(torch.int64)) ^ _hash(flat[whole:])


def _hash(words: Tensor) -> int:
    return int(torch.hash_tensor(words).view(torch.int64)) if len(words) else 0
