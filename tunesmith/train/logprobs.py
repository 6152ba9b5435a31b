"""Log-probabilities of chosen tokens without ever holding [N, vocabulary] logits.

The log-probability of token t at hidden state h is  l = h W_t - logsumexp(h W^T), so its gradient by h is the one
vector

    dl/dh = W_t - softmax(h W^T) W

which depends on nothing that comes later. It is computed in the forward pass, chunk by chunk, while the
logits are at hand; the backward pass is a multiplication. With label smoothing e (Szegedy et al. 2016,
arXiv:1512.00567) each token gives (1 - e) l + e m instead, where m is the mean log-probability over the vocabulary:

    m = h W_mean - logsumexp(h W^T)      d/dh = (1 - e) W_t + e W_mean - softmax(h W^T) W

When the output embedding itself is trained, its
gradient is recomputed chunk by chunk in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["logprobs_and_hits", "token_logprobs"]

CHUNK_BYTES = 64 << 20


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        rows = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
        wants_hidden = ctx.needs_input_grad[0]
        logprobs = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        hits = torch.empty(len(targets), dtype=torch.bool, device=hidden.device)
        slope = torch.empty_like(hidden) if wants_hidden else None
        mean = weight.float().mean(0).to(weight.dtype) if smoothing else None
        for start in range(0, len(targets), rows):
            piece = slice(start, start + rows)
            logits = (hidden[piece] @ weight.t()).float()
            chosen = logits.gather(1, targets[piece, None])
            largest = logits.amax(dim=1, keepdim=True)
            hits[piece] = (chosen == largest).squeeze(1)
            if smoothing:
                chosen = (1 - smoothing) * chosen + smoothing * logits.mean(1, keepdim=True)
            exponentials = logits.sub_(largest).exp_()
            total = exponentials.sum(dim=1, keepdim=True)
            logprobs[piece] = (chosen - largest - total.log()).squeeze(1)
            if slope is not None:
                wanted = weight[targets[piece]]
                if mean is not None:
                    wanted = torch.lerp(wanted, mean, smoothing)
                expected = (exponentials.to(weight.dtype) @ weight).div_(total)
                torch.sub(wanted, expected, out=slope[piece])
        ctx.save_for_backward(slope, hidden if ctx.needs_input_grad[1] else None, weight, targets)
        ctx.smoothing = smoothing
        ctx.mark_non_differentiable(hits)
        return logprobs, hits

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        slope, hidden, weight, targets = ctx.saved_tensors
        for_hidden = None if slope is None else slope * grad[:, None].to(slope.dtype)
        for_weight = None if hidden is None else _weight_gradient(hidden, weight, targets, grad, ctx.smoothing)
        return for_hidden, for_weight, None, None


def token_logprobs(hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Natural-log probability [M] (float32) of `targets` [M] at hidden states [M, H] under output embedding [V, H].

    With `smoothing` above 0 that share of each value is the mean over the vocabulary.
    """
    return logprobs_and_hits(hidden, weight, targets, smoothing)[0]


def logprobs_and_hits(hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """`token_logprobs`, and whether each target is the likeliest token [M] (bool; of equally likely ones each is)."""
    logprobs, hits = _TokenLogprobs.apply(hidden, weight, targets, smoothing)
    return logprobs, hits


def _weight_gradient(hidden: Tensor, weight: Tensor, targets: Tensor, grad: Tensor, smoothing: float) -> Tensor:
    """d/dW of sum(grad * logprobs) = ((1 - e) onehot(targets) + e / V - softmax)^T (grad * hidden), [V, H]."""
    rows = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
    total = torch.zeros_like(weight, dtype=torch.float32)
    for start in range(0, len(targets), rows):
        piece = slice(start, start + rows)
        difference = torch.softmax((hidden[piece] @ weight.t()).float(), dim=1).neg_()
        difference += smoothing / weight.shape[0]
        share = torch.full_like(targets[piece, None], 1 - smoothing, dtype=torch.float32)
        difference.scatter_add_(1, targets[piece, None], share)
        total += (difference * grad[piece, None]).t() @ hidden[piece].float()
    return total.to(weight.dtype)
