"""Who is next in the queue, where a job stands in it, and when it will be done."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.jobs.order import choose_next, estimated_finish, position, waiting
from tunesmith.types.jobs import Job, JobProgress, JobRequest, Resolved


def job(name: str, project: str = "a", status: str = "queued", **more: Any) -> Job:
    asked = {name: more.pop(name) for name in ("priority", "labels") if name in more}
    request = JobRequest(
        project=project, model="base", base="tiny", base_name="tiny", context=64, training_file="f", seed=0, **asked
    )
    return Job.model_validate({"id": name, "request": request, "status": status, "created_at": 0, **more})


def names(jobs: list[Job]) -> str:
    return " ".join(each.id for each in jobs)


def test_projects_take_turns_and_a_higher_priority_goes_first() -> None:
    jobs = [job("a1"), job("a2"), job("a3"), job("b1", "b"), job("b2", "b"), job("c1", "c", priority=5)]
    assert names(waiting(jobs)) == "c1 a1 b1 a2 b2 a3"
    # A project that is running something lets the others go first.
    assert names(waiting([job("a0", status="running"), *jobs])) == "c1 b1 a1 b2 a2 a3"
    assert [position(jobs, each) for each in (jobs[5], jobs[0], jobs[2])] == [1, 2, 6]
    assert position(jobs, job("x", status="running")) is None


def test_a_worker_takes_what_it_can_do_and_no_project_gets_too_much() -> None:
    jobs = [job("a1", labels=("gpu",)), job("a2"), job("b1", "b")]
    assert getattr(choose_next(jobs, frozenset(), 1), "id", None) == "b1"
    assert getattr(choose_next(jobs, frozenset({"gpu"}), 1), "id", None) == "a1"
    running = [job("a0", status="running", worker="w"), job("b0", "b", status="running", worker="v")]
    assert choose_next([*running, *jobs], frozenset({"gpu"}), 1) is None
    assert getattr(choose_next([*running, *jobs], frozenset({"gpu"}), 2), "id", None) == "a1"


def test_a_job_that_its_worker_is_still_leaving_is_not_taken() -> None:
    assert choose_next([job("a1", worker="w")], frozenset(), 1) is None


NUMBERS = Resolved(n_epochs=2, batch_size=4, learning_rate_multiplier=1.0)


def test_estimates_follow_from_measured_steps() -> None:
    running = job(
        "a0", status="running", progress=JobProgress(step=2, steps=10, seconds_per_step=3.0), rows=20, resolved=NUMBERS
    )
    assert estimated_finish([running], [], running, 1000) == 1000 + 8 * 3
    # 8 rows, 2 epochs of 2 steps each, 4 rows a step at 3 / 4 seconds a row: 12 seconds each, after the running one.
    first, second = (job(name, rows=8, resolved=NUMBERS) for name in ("a1", "a2"))
    assert estimated_finish([running, first, second], [], first, 1000) == 1000 + 24 + 12
    assert estimated_finish([running, first, second], [], second, 1000) == 1000 + 24 + 24
    assert estimated_finish([first], [], first, 1000) is None
    assert estimated_finish([first], [running], first, 1000) == 1012


@pytest.mark.parametrize("status", ["validating_files", "paused", "succeeded"])
def test_what_neither_runs_nor_waits_has_no_estimate(status: str) -> None:
    asked = job("a1", status=status, rows=8, resolved=NUMBERS)
    assert estimated_finish([asked], [asked], asked, 0) is None
