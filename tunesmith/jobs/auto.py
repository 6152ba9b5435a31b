"""The numbers a job trains with, where the request leaves them to us, by rules on the number of training rows.

    n_epochs     3; more for few rows, until 100 rows have been seen (25 at most); fewer for many, so that not more than
                 25,000 are seen (1 at least)
    batch_size   the largest power of two that is at most a sixteenth of the rows, between 1 and 16
    learning_rate_multiplier   the square root of batch_size / 16: small batches take smaller steps
    beta         0.1
    compute_multiplier         1, which is 8 completions for each prompt
    eval_interval              the steps of an epoch
    eval_samples               1, the likeliest answer

By hand, as (epochs, batch size, multiplier): 10 rows (10, 1, 0.25), 100 rows (3, 4, 0.5), 1,000 rows (3, 16, 1),
50,000 rows (1, 16, 1).
"""

from __future__ import annotations

import math
from typing import TypeVar

from tunesmith.types.jobs import Auto, Method, Resolved

__all__ = ["completions", "resolve", "steps_of"]

Number = TypeVar("Number", int, float)

_EPOCHS, _MOST_EPOCHS = 3, 25
_FEWEST_SEEN, _MOST_SEEN = 100, 25_000
_USUAL_BATCH = 16
_COMPLETIONS, _MOST_COMPLETIONS = 8, 64


def resolve(method: Method, rows: int) -> Resolved:
    """All numbers of `method` on `rows` training rows: those that are given, and the others by the rules above."""
    batch_size = _given(method.batch_size, _batch_size(rows))
    reinforced = method.type == "reinforcement"
    return Resolved(
        n_epochs=_given(method.n_epochs, _epochs(rows)),
        batch_size=batch_size,
        learning_rate_multiplier=_given(
            method.learning_rate_multiplier, round(math.sqrt(batch_size / _USUAL_BATCH), 4)
        ),
        beta=_given(method.beta, 0.1) if method.type == "dpo" else None,
        compute_multiplier=_given(method.compute_multiplier, 1.0) if reinforced else None,
        eval_interval=_given(method.eval_interval, -(-rows // batch_size)) if reinforced else None,
        eval_samples=_given(method.eval_samples, 1) if reinforced else None,
        reasoning_effort=method.reasoning_effort if reinforced else None,
    )


def steps_of(resolved: Resolved, rows: int) -> int:
    """Optimizer steps of a job."""
    return -(-rows // resolved.batch_size) * resolved.n_epochs


def completions(resolved: Resolved) -> int:
    """Answers sampled for each prompt: 8 times the compute multiplier, between 2 and 64."""
    return min(_MOST_COMPLETIONS, max(2, round(_COMPLETIONS * (resolved.compute_multiplier or 1.0))))


def _given(number: Number | Auto, usual: Number) -> Number:
    return usual if number == "auto" else number


def _epochs(rows: int) -> int:
    if rows * _EPOCHS < _FEWEST_SEEN:
        return min(_MOST_EPOCHS, math.ceil(_FEWEST_SEEN / rows))
    return max(1, min(_EPOCHS, _MOST_SEEN // rows))


def _batch_size(rows: int) -> int:
    return min(_USUAL_BATCH, max(1, 1 << int(math.log2(max(1, rows // _USUAL_BATCH)))))
