"""Who is next, and when a job will be done: pure functions of the jobs that are not finished.

Of the jobs that wait, those with the highest priority go first; among equals the project that has the fewest jobs
running or ahead, so that one who asks for a hundred does not hold up one who asks for one; then the older job.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence

from tunesmith.jobs.auto import steps_of
from tunesmith.types.jobs import Job

__all__ = ["choose_next", "estimated_finish", "position", "waiting"]


def waiting(jobs: Sequence[Job]) -> list[Job]:
    """The queued jobs in the order in which they will be started. `jobs` are in the order in which they came."""
    ahead = Counter(job.project for job in jobs if job.status == "running")
    by_priority: dict[int, dict[str, deque[tuple[int, Job]]]] = defaultdict(lambda: defaultdict(deque))
    for number, job in enumerate(jobs):
        if job.status == "queued":
            by_priority[-job.request.priority][job.project].append((number, job))
    ordered: list[Job] = []
    for priority in sorted(by_priority):
        projects = by_priority[priority]
        heap = [(ahead[project], own[0][0], project) for project, own in projects.items()]
        heapq.heapify(heap)
        while heap:
            _, _, project = heapq.heappop(heap)
            own = projects[project]
            ordered.append(own.popleft()[1])
            ahead[project] += 1
            if own:
                heapq.heappush(heap, (ahead[project], own[0][0], project))
    return ordered


def choose_next(jobs: Sequence[Job], labels: frozenset[str], per_project: int) -> Job | None:
    """The job that a worker with `labels` takes now, or None. No project has more than `per_project` jobs running."""
    running = Counter(job.project for job in jobs if job.status == "running")
    for job in waiting(jobs):
        if job.worker is None and labels.issuperset(job.request.labels) and running[job.project] < per_project:
            return job
    return None


def position(jobs: Sequence[Job], job: Job) -> int | None:
    """The place of `job` among those that wait, 1 for the next one; None when it does not wait."""
    places = {each.id: place for place, each in enumerate(waiting(jobs), start=1)}
    return places.get(job.id)


def estimated_finish(jobs: Sequence[Job], done: Iterable[Job], job: Job, now: int) -> int | None:
    """When `job` will be trained (Unix seconds), by measured seconds per step; None while nothing is measured.

    A job that waits counts on the seconds per row of the others on its base, running or `done`, and on one worker.
    """
    if job.status == "running":
        left = _left(job)
        return None if left is None else now + round(left)
    if job.status != "queued":
        return None
    rate = next((rate for each in (*jobs, *done) if (rate := _seconds_per_row(each, job)) is not None), None)
    own = _seconds(job, rate)
    if own is None:
        return None
    queue = waiting(jobs)
    ahead = queue[: next(place for place, each in enumerate(queue) if each.id == job.id)]
    running = sum(_left(each) or 0.0 for each in jobs if each.status == "running")
    return now + round(running + sum(_seconds(each, rate) or 0.0 for each in ahead) + own)


def _left(job: Job) -> float | None:
    progress = job.progress
    if progress is None or progress.seconds_per_step is None:
        return None
    return (progress.steps - progress.step) * progress.seconds_per_step


def _seconds_per_row(measured: Job, asking: Job) -> float | None:
    progress, resolved = measured.progress, measured.resolved
    same = measured.request.base == asking.request.base and measured.request.method.type == asking.request.method.type
    if not same or progress is None or progress.seconds_per_step is None or resolved is None:
        return None
    return progress.seconds_per_step / resolved.batch_size


def _seconds(job: Job, rate: float | None) -> float | None:
    """What `job` will take, or has still to go where it was begun."""
    if job.resolved is None or job.rows is None or rate is None:
        return None
    done = job.progress.step if job.progress else 0
    return (steps_of(job.resolved, job.rows) - done) * job.resolved.batch_size * rate
