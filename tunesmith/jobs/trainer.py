"""The process that trains one job: `python -m tunesmith.jobs.trainer JOB`, started by a worker.

It runs the whole pipeline on the recipe in the job's folder. The pipeline reuses what is finished and resumes training
at its last checkpoint, so starting this process again is all there is to recovery. It ends with its worker, and waits
for a predecessor that is still ending. Exit code: 0 done or failed for good (the outcome says which), 75 the
database went away and it is worth trying again, 143 stopped.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil

from tunesmith.errors import DatabaseError, DataError, Interrupted, RecipeError, RenderingError, TunesmithError
from tunesmith.garbage import search_rarely
from tunesmith.jobs.checking import data_error
from tunesmith.jobs.folder import JobFolder, Outcome
from tunesmith.jobs.models import model_name
from tunesmith.jobs.processes import bind_to_parent, limit_memory, only_one
from tunesmith.settings import Settings
from tunesmith.store.database import Database
from tunesmith.store.files import FileStore
from tunesmith.store.jobs import JobStore
from tunesmith.threads import limit_threads, usable_cores
from tunesmith.types.files import FileDetails
from tunesmith.types.jobs import Job, JobError
from tunesmith.types.run import RunRecord

__all__ = ["main"]

_NICENESS = 10
_PREDECESSOR_SECONDS = 60.0
_AGAIN = 75


def main(identity: str) -> int:
    """Train the job; the exit code."""
    bind_to_parent()
    search_rarely()
    settings = Settings()
    limit_threads(settings.trainer_threads or settings.threads or max(1, usable_cores() - 1))
    os.nice(_NICENESS)
    limit_memory(settings.trainer_megabytes or (psutil.virtual_memory().total >> 20) * 4 // 5)
    folder = JobFolder(settings.home, identity)
    with only_one(folder.lock, _PREDECESSOR_SECONDS):
        if folder.outcome() is not None:
            return 0
        database = Database(settings.database)
        store = JobStore(database)
        job = store.job(identity)
        if job is None:
            raise TunesmithError(f"There is no job {identity}.")
        try:
            outcome = _train(job, folder, settings, database)
        except Interrupted as stopped:
            return stopped.exit_code
        except DatabaseError:
            return _AGAIN
        except (TunesmithError, MemoryError) as error:
            outcome = Outcome(error=_without_lessons(job, settings.home) or _as_job_error(error, settings.home))
        folder.leave(outcome)
        database.close()
    return 0


class _OwnRows(Settings):
    """Settings by which the prepared rows of a job lie in its own `folder`: they go when it goes, and no other job of
    the same data needs them.
    """

    folder: Path

    @property
    def rows(self) -> Path:
        """The job's folder."""
        return self.folder


def _train(job: Job, folder: JobFolder, settings: Settings, database: Database) -> Outcome:
    from tunesmith import pipeline  # imports torch, for which threads and memory had to be limited
    from tunesmith.jobs.reporter import Reporter, metrics_of
    from tunesmith.jobs.results import metrics_csv
    from tunesmith.progress import Silent
    from tunesmith.recipes import load_recipe
    from tunesmith.release.registry import Registry

    registry, store = Registry(settings.home, database), JobStore(database)
    recipe = load_recipe(folder.recipe)
    with Reporter(settings, store, job, registry).watching():
        result = pipeline.run(recipe, folder.path, _OwnRows(**settings.model_dump(), folder=folder.path), Silent())
    _warn(store, job, result.run)
    content = metrics_csv(metrics_of(Path(result.run.path)))
    files = FileStore(database, settings.home / "files")
    return Outcome(
        model=model_name(job),
        release=result.release.identity(),
        trained_tokens=result.run.effective_tokens,
        result_files=(_result_file(files, job, content),),
    )


def _warn(store: JobStore, job: Job, run: RunRecord) -> None:
    """Say that the validation file shows no gain, where it shows none. The model is made all the same."""
    from tunesmith.train.learned import IMPROVED  # imports torch

    for check in run.checks:
        if check.name == IMPROVED and not check.passed:
            said = f"The loss on the validation file did not fall: {check.detail}"
            store.say_all(job, [(said, "no-gain", {"level": "warn"})])


def _result_file(files: FileStore, job: Job, content: bytes) -> str:
    """The id of the job's result file; a trainer killed after it kept the file finds it again."""
    details = FileDetails(project=job.project, filename=f"step_metrics_{job.id}.csv", purpose="fine-tune-results")
    lately = files.list(job.project, "fine-tune-results", limit=100).files
    known = next((file for file in lately if file.filename == details.filename), None)
    return (known or files.add(details, content)).id


def _without_lessons(job: Job, home: Path) -> JobError | None:
    """The error of a job whose grader gave all answers to each prompt the same reward, at every step."""
    from tunesmith.jobs.reporter import metrics_of, run_of

    steps = [values for values in metrics_of(run_of(home, job.id)).values() if "flat_groups" in values]
    if not steps or any(values["flat_groups"] < 1.0 for values in steps):
        return None
    rewards = sorted({values["reward"] for values in steps})
    given = f"{rewards[0]:g}" if len(rewards) == 1 else f"{rewards[0]:g} to {rewards[-1]:g}"
    message = (
        f"All answers to each prompt got the same reward at every step ({given}), so there was nothing to learn from. "
        "Try the grader on a few answers (/v1/fine_tuning/alpha/graders/run), or sample more of them "
        "(compute_multiplier)."
    )
    return JobError(code="training_failed", message=message, param="method.reinforcement.grader")


def _as_job_error(error: TunesmithError | MemoryError, home: Path) -> JobError:
    """What went wrong, without places of this machine that a client has no business to know."""
    if isinstance(error, DataError) and any(problem.file for problem in error.problems):
        return data_error(error)
    message = str(error) or "The training process may not use as much memory as this job needs."
    kept = "\n".join(line for line in message.splitlines() if str(home) not in line)
    if isinstance(error, DataError | RenderingError):
        return JobError(code="invalid_training_file", message=kept, param="training_file")
    if isinstance(error, RecipeError):
        return JobError(code="invalid_method", message=kept, param="method")
    if isinstance(error, MemoryError):
        return JobError(code="out_of_memory", message=kept)
    return JobError(code="training_failed", message=kept)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
