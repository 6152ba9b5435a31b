"""Weights & Biases: the run's options as its config, one row per logged step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from tunesmith.errors import MissingDependency, TrainingFailed
from tunesmith.train.tracker import MetricSink, TrackedRun, Tracker, Unseen, done_before

__all__ = ["Wandb"]

STEP = "step"
SUFFIX_SEEN = "/last_step"


class Wandb(Tracker):
    """Sends parameters and metrics to Weights & Biases; a resumed run continues its run there.

    `mode: offline` needs neither network nor account: it writes to the folder `wandb` in the run directory, which
    `wandb sync` sends later; a resumed run writes that record anew, so it is whole. `mode: online` needs
    `wandb login`. `project` is the project's name, `run_name` what the run is called there (None: as its folder is),
    `entity` the team it belongs to (None: your own), `tags` are put on it.
    """

    mode: Literal["offline", "online"] = "offline"
    project: str = "tunesmith"
    run_name: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] = ()

    @contextmanager
    def open(self, run: TrackedRun) -> Iterator[MetricSink]:
        """A sink for the run of this id at Weights & Biases; charts are drawn over the optimizer step."""
        try:
            import wandb
        except ImportError as error:
            raise MissingDependency(
                "The tracker wandb needs the package wandb.", hint="pip install 'tunesmith[wandb]'"
            ) from error
        if self.mode == "offline":
            shutil.rmtree(run.folder / "wandb", ignore_errors=True)
        try:
            opened = self._begin(wandb, run)
        except wandb.Error as error:
            raise TrainingFailed(
                f"Weights & Biases did not take the run: {error}", hint="wandb login, or set mode: offline"
            ) from error
        # An offline run begins anew; its summary may still be that of the run that was ended a moment before.
        sink = _Sink(opened, _last_steps(opened) if self.mode == "online" else {})
        failed = True
        try:
            for step, values in done_before(run):
                sink.log(step, values)
            yield sink
            failed = False
        finally:
            opened.finish(exit_code=int(failed))

    def _begin(self, wandb: Any, run: TrackedRun) -> Any:
        opened = wandb.init(
            project=self.project,
            entity=self.entity,
            tags=list(self.tags) or None,
            id=run.folder.name,
            name=self.run_name or run.folder.name,
            dir=run.folder,
            config=dict(run.parameters),
            mode=self.mode,
            resume="allow" if self.mode == "online" else None,
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )
        opened.define_metric(STEP, hidden=True)
        opened.define_metric("*", step_metric=STEP)
        return opened


class _Sink:
    def __init__(self, run: Any, last_steps: Mapping[str, int]) -> None:
        self._run = run
        self._unseen = Unseen(last_steps)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record those of `values` that are not there of `step` yet, as a row with its own step.

        Rows of Weights & Biases' own counter could not be written twice for a step, as training and validation need.
        """
        fresh = self._unseen.of(step, values)
        if fresh:
            self._run.log({STEP: step, **fresh})
            self._run.summary.update({f"{name}{SUFFIX_SEEN}": step for name in fresh})


def _last_steps(run: Any) -> dict[str, int]:
    """The last step that the service has of each metric; nothing for a run that is new there."""
    known = dict(run.summary)
    return {name.removesuffix(SUFFIX_SEEN): int(known[name]) for name in known if name.endswith(SUFFIX_SEEN)}
