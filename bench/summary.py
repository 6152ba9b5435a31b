"""From the results of all rounds to the figures of one line."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.side import Job, Result
from bench.task import Task
from bench.work import Peak, Shape, step_work
from bench.workload import Workload
from tunesmith.train.objective import rows_of

__all__ = ["Round", "largest_difference", "summary"]


class Round(NamedTuple):
    """One round: our side, then the peer's, and the machine's peak between them."""

    ours: Result
    peer: Result
    peak: Peak
    others: float
    """share of the processors that went to other work"""


def summary(task: Task, job: Job, rounds: Sequence[Round], shape: Shape) -> dict[str, Any]:
    """Medians over the rounds; ratios are medians of the ratios round by round."""
    timed = task.steps[job.warm_up :]
    tokens = sum(len(row.token_ids) for groups in timed for row in rows_of(groups))
    rank = None if task.workload.full else job.rank
    works = [step_work(shape, groups, rounds[0].ours.accumulate, rank) for groups in timed]
    computed, operations = sum(work.tokens for work in works), sum(work.operations for work in works)

    def median(figure: Callable[[Round], float]) -> float:
        return statistics.median(figure(each) for each in rounds)

    return {
        "title": task.workload.title,
        "wanted": task.workload.wanted.model_dump(),
        "examples_a_step": job.batch,
        "steps": job.steps,
        "warm_up": job.warm_up,
        "rounds": len(rounds),
        "rank": rank,
        "precision": job.precision,
        "effective_tokens": tokens,
        "computed_tokens": {"ours": computed, "trl": sum(_padded(task.workload, job, g) for g in timed)},
        "ours": _side(rounds, "ours", tokens)
        | {"computed_tokens_per_second": median(lambda r: computed / r.ours.seconds)},
        "trl": _side(rounds, "peer", tokens),
        "speed_ratio": median(lambda r: r.peer.seconds / r.ours.seconds),
        "speed_ratios": [r.peer.seconds / r.ours.seconds for r in rounds],
        "processor_ratio": median(lambda r: r.peer.processor_seconds / r.ours.processor_seconds),
        "memory_ratio": median(lambda r: r.ours.peak_bytes / r.peer.peak_bytes),
        "peak_operations_per_second": median(lambda r: r.peak.per_second),
        "peak_share": median(lambda r: operations / r.ours.seconds / r.peak.per_second),
        "peak_share_by_processor": median(
            lambda r: operations / r.ours.processor_seconds / r.peak.per_processor_second
        ),
        "others": median(lambda r: r.others),
        "compared": task.workload.compared,
        "largest_relative_difference": largest_difference(rounds[0], task.workload),
        "losses": {"ours": rounds[0].ours.losses, "trl": rounds[0].peer.losses},
        "gradient_norms": {"ours": rounds[0].ours.gradient_norms, "trl": rounds[0].peer.gradient_norms},
    }


def largest_difference(found: Round, workload: Workload) -> float:
    """The largest relative difference between both sides' curves, over all steps."""
    pairs = zip(getattr(found.ours, workload.compared), getattr(found.peer, workload.compared), strict=True)
    return max(abs(mine - theirs) / abs(theirs) for mine, theirs in pairs)


def _side(rounds: Sequence[Round], side: str, tokens: int) -> dict[str, float]:
    results: list[Result] = [getattr(each, side) for each in rounds]
    return {
        "tokens_per_second": statistics.median(tokens / result.seconds for result in results),
        "tokens_per_processor_second": statistics.median(tokens / result.processor_seconds for result in results),
        "peak_bytes": statistics.median(result.peak_bytes for result in results),
    }


def _padded(workload: Workload, job: Job, groups: Sequence[Any]) -> int:
    """Positions that the peer computes in one step: every row as long as the longest."""
    rows = rows_of(groups)
    if workload.peer != "grpo":
        return len(rows) * max(len(row.token_ids) for row in rows)
    cuts = [next(i for i, weight in enumerate(row.loss_weights) if weight > 0) for row in rows]
    return len(rows) * (max(cuts) + max(len(row.token_ids) - cut for row, cut in zip(rows, cuts, strict=True)))
