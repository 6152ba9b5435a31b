"""What both sides are told and what both report, as JSON from process to process."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.clock import Clock, Reading
from tunesmith.types.base import Value

__all__ = ["Job", "Result", "given_job", "timed"]


class Job(Value):
    """One measurement: `steps` steps of `batch` examples, of which the first `warm_up` are not timed."""

    workload: str
    base: Path
    data: Path
    folder: Path
    """made for this measurement: prepared rows and the run"""
    batch: int
    steps: int
    warm_up: int = 2
    rank: int = 16
    precision: str = "float32"

    @property
    def file(self) -> Path:
        """Where the job itself is kept for the sides' processes."""
        return self.folder / "job.json"

    @property
    def tokens_file(self) -> Path:
        """Where the peer finds the token ids of every step."""
        return self.folder / "tokens.json"


class Result(Value):
    """What one side reports. Times are those of the timed steps; curves are those of all steps."""

    seconds: float
    processor_seconds: float
    peak_bytes: int
    losses: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    accumulate: int = 1
    """pieces that a step was computed in"""
    before_seconds: float = 0.0
    """wall time of what is done once before the first step and counted by its share (dpo's reference)"""


def timed(clock: Clock, warm_up: int, before: Reading, share: float) -> Reading:
    """Time of the timed steps and of their `share` of what was done `before` the first step."""
    steps = clock.after(warm_up)
    return Reading(*(step + share * once for step, once in zip(steps, before, strict=True)))


def given_job() -> Job:
    """The job named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path, help="job.json of the measurement")
    return Job.model_validate_json(parser.parse_args().job.read_text())
