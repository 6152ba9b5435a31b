"""What a job keeps on disk until it has ended, in home/jobs/<id>/: its data and the rows prepared of it, the adapter it
starts from (if any), its recipe, its trainer's log, lock and result.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tunesmith.store.values import read_value, write_value
from tunesmith.types.base import Value
from tunesmith.types.jobs import JobError

__all__ = ["JobFolder", "Outcome"]


class Outcome(Value):
    """What a trainer leaves when it is done: the model's name and the id of its release, tokens trained, ids of result
    files; or its failure.
    """

    model: str | None = None
    release: str | None = None
    trained_tokens: int | None = None
    result_files: tuple[str, ...] = ()
    error: JobError | None = None


class JobFolder:
    """The folder of the job `identity` under `home`; it is made when something is put into it."""

    TRAINING = "training.jsonl"
    VALIDATION = "validation.jsonl"
    PARENT = "parent"

    def __init__(self, home: Path, identity: str) -> None:
        self.path = home / "jobs" / identity
        self.recipe = self.path / "recipe.yaml"
        self.log = self.path / "trainer.log"
        self.lock = self.path / "trainer.lock"
        self._outcome = self.path / "outcome.json"

    @property
    def has_validation(self) -> bool:
        """Whether the job has rows to validate on."""
        return (self.path / self.VALIDATION).is_file()

    @property
    def has_parent(self) -> bool:
        """Whether the job trains on from an adapter."""
        return (self.path / self.PARENT).is_dir()

    def take_parent(self, adapter: Path) -> None:
        """Keep the adapter in the folder `adapter` to train on from, whatever becomes of its model."""
        for file in sorted(adapter.iterdir()):
            self.take(f"{self.PARENT}/{file.name}", file)

    def take(self, name: str, source: Path) -> None:
        """Keep the bytes of `source` as `name`, so that deleting the file that was uploaded does not end the job."""
        target = self.path / name
        draft = target.with_name(f".{target.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        try:
            os.link(source, draft)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, draft)
        draft.replace(target)

    def outcome(self) -> Outcome | None:
        """What the trainer left, or None."""
        return read_value(self._outcome, Outcome)

    def leave(self, outcome: Outcome) -> None:
        """Keep `outcome`."""
        write_value(self._outcome, outcome)

    def forget_failure(self) -> None:
        """Remove the outcome of a failed attempt, so that the next one can leave its own."""
        found = self.outcome()
        if found is not None and found.error is not None:
            self._outcome.unlink()
