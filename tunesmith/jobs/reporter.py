"""Tells the database what a trainer's run has come to: metrics as events, the adapters of epochs as models.

It looks at the files of the run, which are complete or absent, so it can look at any time and after any kill; what is
told already is not told again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.errors import DatabaseError, TunesmithError
from tunesmith.jobs.auto import steps_of
from tunesmith.jobs.models import checkpoint_name, tuned_model
from tunesmith.jobs.results import parse_metrics
from tunesmith.release.registry import Registry, now
from tunesmith.settings import Settings
from tunesmith.store.jobs import JobStore, Said
from tunesmith.types.jobs import Job, JobCheckpoint, JobProgress
from tunesmith.types.release import Release

__all__ = ["Reporter", "metrics_of", "run_of"]

_LOOK_SECONDS = 0.3
_TOLD_AT_ONCE = 500


def run_of(home: Path, job: str) -> Path | None:
    """The run directory of the job's training; None before it has begun."""
    runs = [folder for folder in (home / "runs").glob(f"{job}-*") if (folder / "metrics.jsonl").is_file()]
    return max(runs, key=lambda folder: (folder / "metrics.jsonl").stat().st_mtime, default=None)


def metrics_of(run: Path | None) -> dict[int, dict[str, float]]:
    """Step -> everything that was measured in `run`."""
    file = run / "metrics.jsonl" if run else None
    return parse_metrics(file.read_text().splitlines()) if file and file.is_file() else {}


class Reporter:
    """Watches the run of `job`. `release` is what its checkpoints become, but for the adapter."""

    def __init__(self, settings: Settings, store: JobStore, job: Job, registry: Registry) -> None:
        self._home, self._store, self._job = settings.home, store, job
        self._registry = registry
        self._steps = steps_of(job.resolved, job.rows) if job.resolved and job.rows else 0
        self._told = -1
        self._since: tuple[int, float] | None = None
        self._seen: set[int] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look every now and then while the block runs, and once more after it, whatever ends it."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_LOOK_SECONDS):
                # The database may be away for a while; it is told later.
                try:
                    self.look()
                except DatabaseError:
                    continue

        thread = threading.Thread(target=watch, name="reporter", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.look()

    def look(self) -> None:
        """Tell what is new."""
        run = run_of(self._home, self._job.id)
        if run is None:
            return
        # The folders first: an epoch's validation is recorded before its folder is there, so what is read after has it.
        folders = sorted((run / "epochs").glob("step-*"))
        metrics = metrics_of(run)
        self._tell_steps(metrics)
        for folder in folders:
            step = int(folder.name.removeprefix("step-"))
            if step not in self._seen and step in metrics:
                self._keep(folder, step, metrics)
                self._seen.add(step)

    def _tell_steps(self, metrics: dict[int, dict[str, float]]) -> None:
        last = max((step for step, values in metrics.items() if "loss" in values), default=0)
        # The last step may still get its validation.
        new = [step for step in sorted(metrics) if step >= max(1, self._told)]
        for start in range(0, len(new), _TOLD_AT_ONCE):
            events = [
                event for step in new[start : start + _TOLD_AT_ONCE] for event in self._events(step, metrics[step])
            ]
            self._store.say_all(self._job, events)
        if last > self._told:
            self._told = last
            self._measure(last)

    def _events(self, step: int, values: dict[str, float]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        place = f"Step {step}/{self._steps}"
        if "loss" in values:
            shown = f"{place}: training loss={values['loss']:.4f}"
            named = {
                "train_loss": values["loss"],
                "train_mean_token_accuracy": values.get("token_accuracy"),
                "reward": values.get("reward"),
            }
            yield shown, f"step-{step}", _metrics(step, self._steps, named)
        if "validation_loss" in values:
            loss = values["validation_loss"]
            shown = f"{place}: validation loss={loss:.4f}"
            yield shown, f"validation-{step}", _metrics(step, self._steps, _validation(values))

    def _measure(self, step: int) -> None:
        """Seconds per step, as this process makes them."""
        moment = time.monotonic()
        if self._since is None:
            self._since = (step, moment)
        first, began = self._since
        seconds = (moment - began) / (step - first) if step > first else None

        def measured(job: Job) -> Job:
            known = job.progress.seconds_per_step if job.progress else None
            progress = JobProgress(step=step, steps=self._steps, seconds_per_step=seconds or known)
            return job.model_copy(update={"progress": progress})

        self._store.change(self._job.id, measured)

    def _keep(self, folder: Path, step: int, metrics: dict[int, dict[str, float]]) -> None:
        """Make the adapter of an epoch a release that can be asked under a name of its own."""
        from tunesmith.models.adapter import adapter_digest, read_identity  # imports torch

        job, name = self._job, checkpoint_name(self._job, step)
        found = self._store.job(job.id)
        if found is None or found.finished:
            return  # cancelled just now: nobody would get the model
        identity = read_identity(folder)
        if identity is None:
            raise TunesmithError(f"The adapter in {folder} does not say what it belongs to.")
        release = Release(
            name=job.id,
            base=identity.base,
            base_digest=identity.base_digest,
            adapter_digest=adapter_digest(folder),
            template_digest=identity.template_digest,
            dataset_digest="",
            report_digest="",
            decision_digest="",
            outcome="not evaluated",
            run=f"{folder.parent.parent.name}/{folder.name}",
            max_new_tokens=job.request.context,
            created=now(),
        )
        registered, _ = self._registry.register(release, folder)
        values = metrics[step]
        measured = {
            "step": float(step),
            "train_loss": values.get("loss"),
            "train_mean_token_accuracy": values.get("token_accuracy"),
            **_validation(values),
        }
        checkpoint = JobCheckpoint(
            id=f"ftckpt_{secrets.token_hex(12)}",
            job=job.id,
            created_at=self._store.now(),
            step=step,
            model=name,
            metrics={key: value for key, value in measured.items() if value is not None},
        )
        model = tuned_model(job, name, registered.identity(), checkpoint.created_at)
        said: Said = (f"Checkpoint created at step {step}: {name}", f"checkpoint-{step}", {})
        self._store.add_checkpoint(job, checkpoint, model, said)


def _validation(values: Mapping[str, float]) -> dict[str, float | None]:
    """Validation is always of all rows, so what OpenAI samples and what it measures in full are the same."""
    loss, accuracy = values.get("validation_loss"), values.get("validation_token_accuracy")
    return {
        "valid_loss": loss,
        "full_valid_loss": loss,
        "valid_mean_token_accuracy": accuracy,
        "full_valid_mean_token_accuracy": accuracy,
    }


def _metrics(step: int, steps: int, values: Mapping[str, float | None]) -> dict[str, Any]:
    known = {name: value for name, value in values.items() if value is not None}
    return {"type": "metrics", "data": {"step": step, "total_steps": steps, **known}}
