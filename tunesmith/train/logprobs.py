"""Log-probabilities of chosen tokens without ever holding [N, vocabulary] logits.

The log-probability of token t at hidden state h is  l = h W_t - logsumexp(h W^T), so its gradient by h is the one
vector

    dl/dh = W_t - softmax(h W^T) W

which depends on nothing that comes later. It is computed in the forward pass, chunk by chunk, while the
logits are at hand; the backward pass is a multiplication. When the output embedding itself is trained, its
gradient is recomputed chunk by chunk in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["token_logprobs"]

CHUNK_BYTES = 64 << 20


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        rows = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
        wants_hidden = ctx.needs_input_grad[0]
        logprobs = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        slope = torch.empty_like(hidden) if wants_hidden else None
        for start in range(0, len(targets), rows):
            piece = slice(start, start + rows)
            logits = (hidden[piece] @ weight.t()).float()
            chosen = logits.gather(1, targets[piece, None]).squeeze(1)
            normaliser = torch.logsumexp(logits, dim=1)
            logprobs[piece] = chosen - normaliser
            if slope is not None:
                probabilities = logits.sub_(normaliser[:, None]).exp_().to(weight.dtype)
                torch.sub(weight[targets[piece]], probabilities @ weight, out=slope[piece])
        ctx.save_for_backward(slope, hidden if ctx.needs_input_grad[1] else None, weight, targets)
        return logprobs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        slope, hidden, weight, targets = ctx.saved_tensors
        for_hidden = None if slope is None else slope * grad[:, None].to(slope.dtype)
        for_weight = None if hidden is None else _weight_gradient(hidden, weight, targets, grad)
        return for_hidden, for_weight, None


def token_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Natural-log probability [M] (float32) of `targets` [M] at hidden states [M, H] under output embedding [V, H]."""
    result: Tensor = _TokenLogprobs.apply(hidden, weight, targets)
    return result


def _weight_gradient(hidden: Tensor, weight: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
    """d/dW of sum(grad * logprobs) = (onehot(targets) - softmax)^T (grad * hidden), [V, H]."""
    rows = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
    total = torch.zeros_like(weight, dtype=torch.float32)
    for start in range(0, len(targets), rows):
        piece = slice(start, start + rows)
        difference = torch.softmax((hidden[piece] @ weight.t()).float(), dim=1).neg_()
        difference.scatter_add_(1, targets[piece, None], torch.ones_like(targets[piece, None], dtype=torch.float32))
        total += (difference * grad[piece, None]).t() @ hidden[piece].float()
    return total.to(weight.dtype)
