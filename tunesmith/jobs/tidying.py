"""What a job that has ended leaves on the disk: its models, its result file, and its run with metrics and report.

Its folder goes, and with it its rows: copies of the files it was made with, and what was prepared of them. So do the
states that its run could have gone on from, and the adapters of epochs, which are releases by now. The log of a trainer
whose job failed stays for a week. A model that is deleted takes its adapter along.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tunesmith.errors import NotFound
from tunesmith.jobs.folder import JobFolder
from tunesmith.store.database import Database
from tunesmith.store.files import FileStore
from tunesmith.store.jobs import JobStore
from tunesmith.store.tuned import TunedModels
from tunesmith.types.jobs import Job
from tunesmith.types.release import Release
from tunesmith.types.tuned import JOB_PREFIX

__all__ = ["Tidying"]

_log = logging.getLogger(__name__)

_LOG_SECONDS = 7 * 24 * 3600
_CREATING_SECONDS = 3600
_STATES = ("checkpoints", "epochs")


class Tidying:
    """Tidies up after the jobs in `database`, whose folders are under `home`. `clock` gives Unix seconds."""

    def __init__(self, home: Path, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._home, self._clock = home, clock
        self._store, self._tuned = JobStore(database), TunedModels(database)
        self._files = FileStore(database, home / "files")

    def sweep(self) -> None:
        """Remove what no job needs any more. Raises OSError for what cannot be removed; the next sweep tries again."""
        for place in _below(self._home / "jobs", f"{JOB_PREFIX}*"):
            self._tidy_folder(place)
        for state in _STATES:
            for place in _below(self._home / "runs", f"{JOB_PREFIX}*/{state}"):
                job = self._store.job(place.parent.name.rpartition("-")[0])
                if job is not None and _is_settled(job):
                    shutil.rmtree(place)
        for release in self._tuned.nameless():
            self._remove_adapter(release)

    def _tidy_folder(self, place: Path) -> None:
        job = self._store.job(place.name)
        if job is None:  # it is being made; or the server that made it was killed
            if place.stat().st_mtime < self._clock() - _CREATING_SECONDS:
                shutil.rmtree(place)
            return
        if not _is_settled(job):
            return
        folder = JobFolder(self._home, job.id)
        self._forget_results(job, folder)
        kept = {folder.log} if job.status == "failed" and not self._is_old(job) else set()
        for part in place.iterdir():
            if part not in kept:
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        if not any(place.iterdir()):
            place.rmdir()

    def _remove_adapter(self, release: Release) -> None:
        """Of the release and, where it is a whole run's and no epoch's, of that run."""
        places = [self._home / "releases" / release.identity() / "adapter"]
        if "/" not in release.run:
            places.append(self._home / "runs" / release.run / "adapter")
        there = [place for place in places if place.is_dir()]
        job = self._store.job(release.name) if there else None
        if job is not None and _is_settled(job):
            for place in there:
                shutil.rmtree(place)

    def _forget_results(self, job: Job, folder: JobFolder) -> None:
        """Delete the result files that a job which was cancelled at its very end did not get."""
        try:
            outcome = folder.outcome()
        except ValueError:  # of another version, or damaged: nobody can say what it named
            _log.warning("the outcome of %s cannot be read and is removed", job.id)
            return
        for identity in set(outcome.result_files if outcome else ()) - set(job.result_files):
            with contextlib.suppress(NotFound):
                self._files.delete(job.project, identity)

    def _is_old(self, job: Job) -> bool:
        return self._clock() - (job.finished_at or 0) > _LOG_SECONDS


def _is_settled(job: Job) -> bool:
    """It has ended, and no worker is busy with it any more."""
    return job.finished and job.worker is None


def _below(folder: Path, pattern: str) -> Iterator[Path]:
    return (place for place in sorted(folder.glob(pattern)) if place.is_dir())
