"""Choosing the next token from logits, and its log-probability under the untempered distribution."""

from __future__ import annotations

import math
import secrets

import torch
from torch import Tensor

from tunesmith.engine.engine import Sampling, ScoredToken, TokenLogprob
from tunesmith.errors import EngineError

__all__ = ["choose", "generator_for", "logprobs_of", "scored_tokens", "top_logprobs"]


# Logits divided by less overflow; the most likely token has all the probability long before.
_GREEDY_BELOW = 1e-5

# Tokens among which a nucleus is looked for first, and how far beyond top_p their probability has to reach for sums
# that are rounded to be no matter.
_LIKELIEST = 512
_SLACK = 1e-6


def generator_for(sampling: Sampling) -> torch.Generator:
    """A random generator of the request's own, so that neighbours in the batch never move its draws."""
    generator = torch.Generator()
    generator.manual_seed(secrets.randbits(63) if sampling.seed is None else sampling.seed)
    return generator


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token given logits [V]: the most likely at temperature 0, else drawn from the tempered nucleus.

    top_p keeps the smallest set of most likely tokens whose probability reaches it (Holtzman et al. 2020,
    arXiv 1904.09751). Raises EngineError for logits that are no distribution.
    """
    if sampling.temperature < _GREEDY_BELOW:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_p == 1.0:
        return _drawn(probabilities, generator)
    kept, ids = _nucleus(probabilities, sampling.top_p)
    return int(ids[_drawn(kept, generator)])


def _drawn(weights: Tensor, generator: torch.Generator) -> int:
    """A place of weights [K], drawn by inverting their cumulative distribution: one random number, where
    `torch.multinomial` draws K of them.
    """
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    total = float(cumulative[-1])
    if not 0 < total < math.inf:
        raise EngineError("The model's logits are no distribution: some are not numbers, or all are excluded.")
    # Below the total whatever the product rounds to: a place of weight 0 is never the first one beyond.
    threshold = min(float(torch.rand((), dtype=torch.float64, generator=generator)) * total, math.nextafter(total, 0.0))
    return int(torch.searchsorted(cumulative, threshold, right=True))


def _nucleus(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities of the nucleus's tokens, the most likely first (equal ones by id), and their ids.

    Nearly always it lies within the likeliest few hundred tokens, and then the others are not sorted.
    """
    if len(probabilities) > _LIKELIEST:
        values, ids = probabilities.topk(_LIKELIEST, sorted=False)
        # Of tokens as likely as the least of these, some may be missing: they are left to the whole sort.
        complete = values > values.min()
        ids = ids[complete].sort().values
        if float(probabilities[ids].sum(dtype=torch.float64)) > top_p + _SLACK:
            return _smallest(probabilities[ids], ids, top_p)
    return _smallest(probabilities, torch.arange(len(probabilities)), top_p)


def _smallest(probabilities: Tensor, ids: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The fewest of the given tokens whose probability reaches top_p; at least one."""
    ordered, order = probabilities.sort(descending=True, stable=True)
    # A token stays when the more likely ones before it have not yet reached top_p: the first always does.
    before = ordered.cumsum(-1, dtype=torch.float64) - ordered
    count = max(1, int((before < top_p).sum()))
    return ordered[:count], ids[order[:count]]


def logprobs_of(logits: Tensor, token_ids: list[int]) -> list[float]:
    """Natural-log probability of token_ids[r] under row r of logits [R, V]."""
    chosen = logits[torch.arange(len(token_ids)), torch.tensor(token_ids)]
    found: list[float] = (chosen - logits.logsumexp(-1)).tolist()
    return found


def scored_tokens(logits: Tensor, token_ids: list[int], top: int) -> list[ScoredToken]:
    """token_ids[r] under row r of logits [R, V], with the `top` likeliest tokens of the row.

    All of a row is taken against one normaliser, so that the same token has the same number wherever it is told.
    """
    normaliser = logits.logsumexp(-1)
    chosen = (logits[torch.arange(len(token_ids)), torch.tensor(token_ids)] - normaliser).tolist()
    if not top:
        return [ScoredToken(logprob) for logprob in chosen]
    values, ids = logits.topk(min(top, logits.shape[-1]), dim=-1)
    rows = zip(ids.tolist(), (values - normaliser[:, None]).tolist(), strict=True)
    likeliest = [tuple(TokenLogprob(token_id=i, logprob=v) for i, v in zip(*row, strict=True)) for row in rows]
    return [ScoredToken(logprob, best) for logprob, best in zip(chosen, likeliest, strict=True)]


def top_logprobs(logits: Tensor, count: int) -> tuple[TokenLogprob, ...]:
    """The `count` most likely tokens given logits [V] with their log-probabilities, best first."""
    if not count:
        return ()
    values, ids = logits.topk(min(count, logits.shape[-1]))
    values = values - logits.logsumexp(-1)
    return tuple(TokenLogprob(token_id=i, logprob=v) for i, v in zip(ids.tolist(), values.tolist(), strict=True))
