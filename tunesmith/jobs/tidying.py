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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tunesmith.errors import NotFound
from tunesmith.jobs.folder import JobFolder
from tunesmith.jobs.slots import is_free
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
_STATES = ("checkpoints", "epochs")


class Tidying:
    """Tidies up after the jobs in `database`, whose folders are under `home`. `clock` gives Unix seconds.

    What `database` does not know is left alone: it may be another one than the jobs were made in (an older copy, or a
    worker that was started without its address), and what is removed cannot be made again.
    """

    def __init__(self, home: Path, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._home, self._clock = home, clock
        self._store, self._tuned = JobStore(database), TunedModels(database)
        self._files = FileStore(database, home / "files")
        self._told: set[Path] = set()

    def sweep(self) -> None:
        """Remove what no job needs any more. What cannot be removed is told once and tried again by the next sweep; the
        rest goes all the same. Raises OSError when the folders of jobs and runs cannot be listed.
        """
        for place in _below(self._home / "jobs"):
            with self._trying(place):
                self._tidy_folder(place)
        for run in _below(self._home / "runs"):
            if run.is_symlink():
                continue
            job = self._store.job(run.name.rpartition("-")[0])
            if job is not None and self._is_settled(job):
                self._remove(run / state for state in _STATES)
        self._remove_adapters()

    def _tidy_folder(self, place: Path) -> None:
        job = self._store.job(place.name)
        if job is None:  # it is being made, the server that made it was killed, or this is not its database
            self._tell(place, "%s is left alone: the database knows no job of this name", place)
            return
        if not self._is_settled(job):
            return
        if place.is_symlink():
            place.unlink()
            return
        folder = JobFolder(self._home, job.id)
        with self._trying(place):
            self._forget_results(job, folder)
        kept = {folder.log} if job.status == "failed" and not self._is_old(job) else set()
        self._remove(part for part in sorted(place.iterdir()) if part not in kept)
        if not any(place.iterdir()):
            place.rmdir()

    def _remove_adapters(self) -> None:
        """Those of the releases that no model means. One that another release has too stays: an engine knows adapters
        by their digests, and may serve that release's from the folder of this one.
        """
        nameless = self._tuned.nameless()
        places = {release.identity(): self._adapters(release) for release in nameless}
        if not any(places.values()):
            return
        unneeded = {
            identity: release
            for release in nameless
            if not places[identity := release.identity()] or self._is_over(release)
        }
        needed = self._tuned.digests(unneeded.keys())
        for identity, release in unneeded.items():
            if release.adapter_digest not in needed:
                self._remove(places[identity])

    def _adapters(self, release: Release) -> list[Path]:
        """Of the release and, where it is a whole run's and no epoch's, of that run."""
        folders = [self._home / "releases" / release.identity()]
        if "/" not in release.run:
            folders.append(self._home / "runs" / release.run)
        return [folder / "adapter" for folder in folders if not folder.is_symlink() and _is_there(folder / "adapter")]

    def _is_over(self, release: Release) -> bool:
        """Whether the job that made it has ended."""
        job = self._store.job(release.name)
        return job is not None and self._is_settled(job)

    def _remove(self, places: Iterable[Path]) -> None:
        """Remove these files, links (never what they point to) and folders with all that is in them."""
        for place in places:
            with self._trying(place):
                if place.is_dir() and not place.is_symlink():
                    _remove_folder(place)
                elif _is_there(place):
                    place.unlink()

    @contextlib.contextmanager
    def _trying(self, place: Path) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass  # another worker removed it just now
        except OSError as error:
            self._tell(place, "what an ended job left cannot be removed, it is tried again: %s", error)

    def _tell(self, place: Path, message: str, about: object) -> None:
        """Warn of `place`, once."""
        if place not in self._told:
            self._told.add(place)
            _log.warning(message, about)

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

    def _is_settled(self, job: Job) -> bool:
        """It has ended, and no worker is busy with it any more: it was let go, or the worker is dead."""
        return job.finished and (job.worker is None or is_free(self._home, job.worker))


def _below(folder: Path) -> list[Path]:
    """The folders in `folder` that are named after jobs, and links to such."""
    return [place for place in sorted(folder.glob(f"{JOB_PREFIX}*")) if place.is_dir()]


def _is_there(place: Path) -> bool:
    """Also a link that points nowhere."""
    return place.is_symlink() or place.exists()


def _remove_folder(folder: Path) -> None:
    """Remove what can be removed of it. Raises the first OSError of what cannot."""
    errors: list[OSError] = []

    def note(_call: object, _path: str, info: tuple[object, BaseException, object]) -> None:
        if isinstance(info[1], OSError) and not isinstance(info[1], FileNotFoundError):
            errors.append(info[1])

    shutil.rmtree(folder, onerror=note)
    if errors:
        raise errors[0]
