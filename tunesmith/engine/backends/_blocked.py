"""Linear layers whose weight is kept a second time in the block layout of oneDNN's kernels.

torch hands a float32 layer to a general matrix product that reads the weight as it lies, and with the 1 to 64 rows of a
decode step reading is nearly all there is to do. With the blocked weight all products of a 135M model took 0.65 of the
time at one row and 0.4 to 0.5 of it at 4 to 512 rows (float32, one thread of an AMD processor with AVX-512);
in bfloat16 0.7 at one row, and the same from 64 rows on.

The price is the weight's memory once more, which is only taken where there is plenty. And oneDNN makes a kernel for
every number of rows that it meets, which takes time and memory (a process that had met all from 1 to 1,600 had grown by
2 GB), so rows are filled up to one of few numbers.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.room import free_bytes

__all__ = ["block_linear_weights"]

# Share of the free memory that the blocked weights may take.
_SHARE = 0.25
# What the layout is chosen for. It serves any number of rows.
_ROWS = 16
_PRECISIONS = (torch.float32, torch.bfloat16)


class _Blocked:
    """The blocked form of the weight that lies at `place`; structural copies of a model share it."""

    def __init__(self, weight: Tensor) -> None:
        self.place = weight.data_ptr()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Blocked:
        return self


def block_linear_weights(model: nn.Module, most_bytes: float | None = None) -> int:
    """Let every `nn.Linear` of `model` on the processor compute with a blocked copy of its weight, as it is now.

    Does nothing where the copies would take more than `most_bytes` (default: a quarter of the free memory), or where
    torch has no oneDNN. A layer that is given another weight later computes with that one. Returns how many layers
    there are.
    """
    if not torch.backends.mkldnn.is_available():
        return 0
    found = [module for module in model.modules() if type(module) is nn.Linear and _suits(module.weight)]
    if sum(module.weight.nbytes for module in found) > (_SHARE * free_bytes() if most_bytes is None else most_bytes):
        return 0
    for module in found:
        module.blocked = _Blocked(module.weight)
        module.forward = MethodType(_forward, module)
    return len(found)


def _forward(self: Any, x: Tensor) -> Tensor:
    blocked: _Blocked = self.blocked
    if self.weight.data_ptr() != blocked.place or not x.numel():
        return nn.functional.linear(x, self.weight, self.bias)
    rows = x.numel() // x.shape[-1]
    filled = x.reshape(rows, -1)
    if _filled(rows) > rows:
        filled = nn.functional.pad(filled, (0, 0, 0, _filled(rows) - rows))
    y: Tensor = torch.ops.mkldnn._linear_pointwise(filled, blocked.weight, self.bias, "none", [], "")
    return y[:rows].view(*x.shape[:-1], -1)


def _filled(rows: int) -> int:
    """The number of rows that so many are filled up to."""
    if rows <= _ROWS:
        return max(2, 1 << (rows - 1).bit_length())
    step = 8 if rows <= 64 else 32
    return -(-rows // step) * step


def _suits(weight: Tensor) -> bool:
    return weight.dtype in _PRECISIONS and weight.device.type == "cpu" and weight.numel() > 0
