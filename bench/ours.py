"""Our side: `tunesmith train`'s own stage on a prepared workload, watched through its progress. Prints one JSON line.

python -m bench.ours job.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.clock import Clock, Reading, peak_bytes
from bench.side import Job, Result, given_job, timed
from bench.task import Task, make_task, stored_completions
from tunesmith.progress import Silent
from tunesmith.progress import Task as Bar
from tunesmith.train.finish import TrainingInput
from tunesmith.train.forward import score
from tunesmith.train.metrics import METRICS_FILE
from tunesmith.train.objective import Needs
from tunesmith.train.rollouts import Completion, Tools, completed_row
from tunesmith.train.stage import train
from tunesmith.training_tools import reward_of

__all__ = ["Watch", "main", "train_task"]

STEPS, REFERENCE = "training", "what the start policy says"


def main() -> None:
    """Train the job and print its result."""
    job = given_job()
    print(train_task(make_task(job), job).model_dump_json())


def train_task(task: Task, job: Job) -> Result:
    """Run the train stage on `task` and report what it took."""
    watch = Watch()
    tools = None
    if task.spec.grader is not None:
        known = {g.prompt: stored_completions(g.item, task.renderer) for groups in task.steps for g in groups}
        tools = Tools(_StoredAnswers(known, watch.clock), reward_of)
    record = train(task.spec, TrainingInput("bench", task.base, task.dataset, job.folder, tools), watch)
    lines = (Path(record.path) / METRICS_FILE).read_text().splitlines()
    steps = [values for values in map(json.loads, lines) if "loss" in values]
    spent = timed(watch.clock, job.warm_up, watch.before, 1 - job.warm_up / job.steps)
    return Result(
        seconds=spent.seconds,
        processor_seconds=spent.processor_seconds,
        peak_bytes=max(record.actual_peak_bytes, peak_bytes()),
        losses=tuple(values["loss"] for values in steps),
        gradient_norms=tuple(values["gradient_norm"] for values in steps),
        accumulate=record.accumulate,
        before_seconds=watch.before.seconds,
    )


class Watch(Silent):
    """A progress that times the steps of the training bar, and what the reference pass before them took."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.before = Reading(0.0, 0.0)

    @contextmanager
    def task(self, description: str, total: int, unit: str = "row") -> Iterator[Bar]:
        """Watch the bars that matter."""
        began = Reading.now()
        with super().task(description, total, unit) as bar:
            yield _StepBar(self.clock) if description == STEPS else bar
        if description == REFERENCE:
            self.before = Reading.now().since(began)


class _StepBar:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def advance(self, steps: int = 1, **fields: float | str) -> None:
        """Each step done is an end; a resumed run's first jump is none."""
        if fields:
            self._clock.step_done()


class _StoredAnswers:
    """A sampler that gives each prompt its stored completions, and what the model says of them now; both untimed."""

    def __init__(self, known: Mapping[tuple[int, ...], Sequence[tuple[int, ...]]], clock: Clock) -> None:
        self._known = known
        self._clock = clock

    def sample(
        self, model: Any, prompts: Sequence[tuple[int, ...]], seeds: Sequence[Sequence[int]], limits: Needs
    ) -> list[list[tuple[tuple[int, ...], tuple[float, ...], bool]]]:
        """As many of each prompt's completions as there are seeds, with their log-probabilities."""
        with self._clock.outside(), torch.no_grad():
            return [self._said(model, prompt, len(own)) for prompt, own in zip(prompts, seeds, strict=True)]

    def _said(
        self, model: Any, prompt: tuple[int, ...], count: int
    ) -> list[tuple[tuple[int, ...], tuple[float, ...], bool]]:
        found = self._known[prompt][:count]
        rows = [completed_row(prompt, Completion(ids, (0.0,) * len(ids), ended=True)) for ids in found]
        scored = score(model, rows, "tree")
        logprobs = iter(scored.logprobs[scored.token].tolist())
        return [(ids, tuple(next(logprobs) for _ in ids), True) for ids in found]


if __name__ == "__main__":
    main()
