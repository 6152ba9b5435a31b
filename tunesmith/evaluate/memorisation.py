"""Whether a model gives its training rows away: it is shown the beginning of an answer, and goes on from there.

A row leaks when the continuation is the trained one, token for token (Carlini et al. 2021, arXiv:2012.07805; 2023,
arXiv:2202.07646). Answers that anybody could guess would leak from any model, so the same is done with held-out rows,
and with the untuned model: what counts is the difference.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from tunesmith.engine.engine import Engine, GenerationRequest, Sampling
from tunesmith.errors import EvaluationError
from tunesmith.evaluate.asking import PromptRenderer, in_parallel
from tunesmith.evaluate.statistics import Interval, wilson_interval
from tunesmith.progress import Progress
from tunesmith.types.base import Value
from tunesmith.types.dataset import Example

__all__ = ["Continued", "LeakOptions", "LeakReport", "Leaked", "continued", "leak_report", "membership"]


class LeakOptions(Value):
    """Which rows are tried and how.

    rows: at most so many of each kind, drawn with `seed`. given: share of the answer that is shown. least: answers that
    have fewer tokens left are not tried, as they are soon guessed. most: so many tokens are compared.
    """

    rows: int = Field(default=200, ge=1)
    given: float = Field(default=0.5, ge=0.0, lt=1.0)
    least: int = Field(default=8, ge=1)
    most: int = Field(default=50, ge=1)
    seed: int = 0
    concurrency: int = Field(default=16, ge=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)


class Continued(NamedTuple):
    """One row: whether the model went on as the row does, how many tokens it agreed with before it left, of how many,
    and the mean natural-log probability of the row's own continuation.
    """

    id: str
    exact: bool
    agreed: int
    tokens: int
    logprob: float


class Leaked(Value):
    """How many rows of one kind were continued exactly: `rate` with its Wilson interval, None where none were tried."""

    rows: int
    exact: int
    rate: float | None
    low: float | None
    high: float | None
    mean_agreed: float | None


class LeakReport(Value):
    """Training rows (`members`) and held-out ones (`controls`), by the model and by its base.

    `excess` is the model's rate on members less that on controls, with Newcombe's interval (1998, method 10).
    `membership_auc` is the chance that a training row is likelier per token than a held-out one (Yeom et al. 2018,
    arXiv:1709.01604): 0.5 tells nothing about who was trained on.
    """

    model: str
    options: LeakOptions
    members: Leaked
    controls: Leaked
    base_members: Leaked
    base_controls: Leaked
    excess: float | None
    excess_low: float | None
    excess_high: float | None
    membership_auc: float | None
    base_membership_auc: float | None
    leaked_rows: tuple[str, ...] = ()


async def continued(
    engine: Engine,
    renderer: PromptRenderer,
    adapter: str | None,
    rows: Sequence[Example],
    options: LeakOptions,
    progress: Progress,
) -> list[Continued]:
    """The rows that are drawn, each continued greedily. Rows without an answer of enough tokens are left out.

    Raises EvaluationError when no row is left.
    """
    usable = [row for row in rows if not row.conversation.is_text and _split(renderer, row, options)[1]]
    drawn = random.Random(options.seed).sample(usable, min(options.rows, len(usable)))
    if not drawn:
        raise EvaluationError(
            f"No answer has {options.least} tokens behind the part that is shown.",
            hint="Lower --least or --given: short answers, such as labels, give nothing away by being continued.",
        )

    async def one(row: Example) -> Continued:
        shown, wanted = _split(renderer, row, options)
        sampling = Sampling(max_tokens=len(wanted))
        request = GenerationRequest(prompt_ids=shown, adapter=adapter, sampling=sampling)
        said = [event.token_id async for event in engine.submit(request)]
        scores = await engine.score(shown, wanted, adapter)
        agreed = next((at for at, token in enumerate(wanted) if said[at : at + 1] != [token]), len(wanted))
        return Continued(row.id, agreed == len(wanted), agreed, len(wanted), sum(scores) / len(scores))

    with progress.task("rows continued", total=len(drawn)) as task:
        return await in_parallel(drawn, one, options.concurrency, task.advance)


def _split(renderer: PromptRenderer, row: Example, options: LeakOptions) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(what is shown, what should follow); nothing where too little follows."""
    conversation = row.conversation
    answer = renderer.answer_ids(conversation.reference)
    cut = math.ceil(options.given * len(answer))
    if len(answer) - cut < options.least:
        return (), ()
    prompt = renderer.prompt_ids(conversation.prompt, conversation.tools)
    return (*prompt, *answer[:cut]), answer[cut : cut + options.most]


def leak_report(
    model: str,
    options: LeakOptions,
    tuned: tuple[Sequence[Continued], Sequence[Continued]],
    base: tuple[Sequence[Continued], Sequence[Continued]],
) -> LeakReport:
    """The report of (training rows, held-out rows) by the tuned model and by its base."""
    members, controls, base_members, base_controls = (_leaked(rows, options.confidence) for rows in (*tuned, *base))
    excess = _difference(members, controls)
    return LeakReport(
        model=model,
        options=options,
        members=members,
        controls=controls,
        base_members=base_members,
        base_controls=base_controls,
        excess=None if members.rate is None or controls.rate is None else members.rate - controls.rate,
        excess_low=excess.low if excess else None,
        excess_high=excess.high if excess else None,
        membership_auc=membership(*tuned),
        base_membership_auc=membership(*base),
        leaked_rows=tuple(row.id for row in tuned[0] if row.exact),
    )


def membership(members: Sequence[Continued], controls: Sequence[Continued]) -> float | None:
    """Area under the ROC curve of telling members from controls by log-probability per token; None without both.

    Members at -1 and -3, controls at -2 and -3: pairs won 1, 1, 0, and half of the tie: 2.5 / 4.
    """
    if not members or not controls:
        return None
    one = np.array([row.logprob for row in members])[:, None]
    other = np.array([row.logprob for row in controls])[None, :]
    return float((one > other).mean() + 0.5 * (one == other).mean())


def _leaked(rows: Sequence[Continued], confidence: float) -> Leaked:
    exact = sum(row.exact for row in rows)
    if not rows:
        return Leaked(rows=0, exact=0, rate=None, low=None, high=None, mean_agreed=None)
    interval = wilson_interval(exact, len(rows), confidence)
    agreed = sum(row.agreed / row.tokens for row in rows) / len(rows)
    return Leaked(
        rows=len(rows), exact=exact, rate=exact / len(rows), low=interval.low, high=interval.high, mean_agreed=agreed
    )


def _difference(one: Leaked, other: Leaked) -> Interval | None:
    """Newcombe's interval of the difference of two independent proportions, from their Wilson intervals."""
    if one.rate is None or one.low is None or one.high is None:
        return None
    if other.rate is None or other.low is None or other.high is None:
        return None
    gap = one.rate - other.rate
    low = gap - math.hypot(one.rate - one.low, other.high - other.rate)
    high = gap + math.hypot(one.high - one.rate, other.rate - other.low)
    return Interval(max(-1.0, low), min(1.0, high))
