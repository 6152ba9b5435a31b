"""How far a student's next-token distribution is from its teacher's, without ever holding [M, vocabulary] logits.

With logits z at temperature T, p = softmax(z_student / T), q = softmax(z_teacher / T), times T^2 so that gradients
keep their size (Hinton et al. 2015, arXiv:1503.02531):

    forward   T^2 KL(q || p) = T^2 sum_v q (log q - log p)      d/dz = T (p - q)
    reverse   T^2 KL(p || q) = T^2 sum_v p (log p - log q)      d/dz = T p (log p - log q - KL(p || q))

The gradient by the hidden state, (d/dz) W, is computed in the forward pass, chunk by chunk, while the logits are at
hand; the backward pass is a multiplication.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Divergence", "token_divergence"]

CHUNK_BYTES = 64 << 20


class Divergence(NamedTuple):
    """How two distributions are compared. `top_k` above 0 compares them on the teacher's k likeliest tokens alone, both
    renormalised over these.
    """

    reverse: bool = False
    temperature: float = 1.0
    top_k: int = 0


class _TokenDivergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, taught: Tensor, output: Tensor, how: Divergence) -> Tensor:
        values = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        slope = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for piece in _pieces(len(hidden), len(weight)):
            values[piece], by_logits = _compared(hidden[piece] @ weight.t(), taught[piece] @ output.t(), how)
            if slope is not None:
                slope[piece] = by_logits.to(weight.dtype) @ weight
        wide = (hidden, weight, taught, output) if ctx.needs_input_grad[1] else (None,) * 4
        ctx.save_for_backward(slope, *wide)
        ctx.how = how
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        slope, hidden, weight, taught, output = ctx.saved_tensors
        for_hidden = None if slope is None else slope * grad[:, None].to(slope.dtype)
        if hidden is None:
            return for_hidden, None, None, None, None
        total = torch.zeros_like(weight, dtype=torch.float32)
        for piece in _pieces(len(hidden), len(weight)):
            _, by_logits = _compared(hidden[piece] @ weight.t(), taught[piece] @ output.t(), ctx.how)
            total += (by_logits * grad[piece, None]).t() @ hidden[piece].float()
        return for_hidden, total.to(weight.dtype), None, None, None


def token_divergence(hidden: Tensor, weight: Tensor, taught: Tensor, output: Tensor, how: Divergence) -> Tensor:
    """[M] divergence (float32) at student states [M, H] under `weight` [V, H] from teacher states [M, G] under `output`
    [V, G].
    """
    result: Tensor = _TokenDivergence.apply(hidden, weight, taught, output, how)
    return result


def _pieces(rows: int, vocabulary: int) -> list[slice]:
    size = max(1, CHUNK_BYTES // (8 * vocabulary))
    return [slice(start, start + size) for start in range(0, rows, size)]


def _compared(ours: Tensor, theirs: Tensor, how: Divergence) -> tuple[Tensor, Tensor]:
    """Divergence [n] and its gradient by the student's logits [n, V], both times T^2."""
    student, teacher = ours.float() / how.temperature, theirs.float() / how.temperature
    chosen = None
    if how.top_k:
        teacher, chosen = teacher.topk(min(how.top_k, teacher.shape[1]), dim=1)
        student = student.gather(1, chosen)
    log_p, log_q = torch.log_softmax(student, dim=1), torch.log_softmax(teacher, dim=1)
    gap = log_p - log_q
    if how.reverse:
        p = log_p.exp()
        values = (p * gap).sum(dim=1)
        slope = p * (gap - values[:, None])
    else:
        q = log_q.exp()
        values = -(q * gap).sum(dim=1)
        slope = log_p.exp() - q
    slope = slope * how.temperature
    if chosen is not None:
        slope = torch.zeros_like(ours, dtype=torch.float32).scatter_(1, chosen, slope)
    return values * how.temperature**2, slope
