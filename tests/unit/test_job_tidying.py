"""What ended jobs leave on the disk, and what goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunesmith.jobs.folder import JobFolder, Outcome
from tunesmith.jobs.models import checkpoint_name, model_name, tuned_model
from tunesmith.jobs.slots import free_slot
from tunesmith.jobs.tidying import Tidying
from tunesmith.store.database import Database
from tunesmith.store.files import FileStore
from tunesmith.store.jobs import JobStore, Retry
from tunesmith.store.releases import add_release
from tunesmith.store.tuned import TunedModels
from tunesmith.types.files import FileDetails
from tunesmith.types.jobs import Job, JobRequest, JobStatus
from tunesmith.types.release import Release

NOW = 2_000_000_000
WEEK = 7 * 24 * 3600
REQUEST = JobRequest(
    project="mine", model="base", base="tiny", base_name="tiny", context=64, training_file="file-1", seed=0
)


class Scene:
    """Jobs with everything that they have on the disk."""

    def __init__(self, home: Path, database_url: str) -> None:
        self.home, self.now = home, [float(NOW)]
        self.database = Database(database_url)
        self.store = JobStore(self.database, lambda: NOW)
        self.files = FileStore(self.database, home / "files")
        self.tidying = Tidying(home, self.database, lambda: self.now[0])

    def job(self, status: JobStatus, **changes: Any) -> Job:
        made, _ = self.store.create(self.store.new_identity(), REQUEST, Retry(None, "digest"))
        ends = {"finished_at": NOW} if status in ("succeeded", "failed", "cancelled") else {}
        job = self.store.change(made.id, lambda job: job.model_copy(update={"status": status, **ends, **changes}))
        assert job is not None
        self.fill(JobFolder(self.home, job.id))
        run = self.home / "runs" / f"{job.id}-0123456789ab"
        for name in ("checkpoints/step-1/state.json", "epochs/step-1/adapter", "adapter/weights", "report.html"):
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).write_text(name)
        return job

    def fill(self, folder: JobFolder) -> None:
        for name in ("training.jsonl", "parent/weights", "datasets/abc/train.jsonl", "recipe.yaml", "trainer.lock"):
            (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.path / name).write_text(name)
        folder.log.write_text("a warning")

    def released(self, job: Job, step: int | None = None, digest: str | None = None) -> Path:
        """The adapter's folder of a release that the job made, whose adapter is like no other unless `digest` says."""
        parts = ("base", "template", "dataset", "report", "decision")
        run = f"{job.id}-0123456789ab" + (f"/step-{step}" if step else "")
        digests = {f"{part}_digest": "" for part in parts} | {"adapter_digest": run if digest is None else digest}
        release = Release.model_validate(
            {"name": job.id, "base": "tiny", "outcome": "pass", "run": run, "created": "2026", **digests}
        )
        name = checkpoint_name(job, step) if step else model_name(job)
        with self.database.transaction() as session:
            add_release(session, release)
        TunedModels(self.database).add(tuned_model(job, name, release.identity(), NOW))
        folder = self.home / "releases" / release.identity() / "adapter"
        folder.mkdir(parents=True)
        return folder

    def folder(self, job: Job) -> list[str]:
        return sorted(path.name for path in (self.home / "jobs" / job.id).glob("*"))

    def run(self, job: Job) -> list[str]:
        return sorted(path.name for path in (self.home / "runs" / f"{job.id}-0123456789ab").iterdir())


@pytest.fixture
def scene(tmp_path: Path, database_url: str) -> Iterator[Scene]:
    made = Scene(tmp_path, database_url)
    yield made
    made.database.close()


def test_an_ended_job_keeps_its_run_without_the_states_to_go_on_from(scene: Scene) -> None:
    job = scene.job("succeeded")
    scene.tidying.sweep()
    assert not (scene.home / "jobs" / job.id).exists()
    assert scene.run(job) == ["adapter", "report.html"]
    scene.tidying.sweep()


@pytest.mark.parametrize("status", ["validating_files", "queued", "running", "paused"])
def test_a_job_that_may_go_on_keeps_everything(scene: Scene, status: JobStatus) -> None:
    job = scene.job(status)
    before = scene.folder(job), scene.run(job)
    scene.tidying.sweep()
    assert (scene.folder(job), scene.run(job)) == before


def test_a_cancelled_job_keeps_everything_until_its_worker_has_let_it_go(scene: Scene) -> None:
    job = scene.job("cancelled", worker="worker-1")
    before = scene.folder(job)
    with free_slot(scene.home, frozenset()).lock:
        scene.tidying.sweep()
    assert scene.folder(job) == before
    scene.store.change(job.id, lambda job: job.model_copy(update={"worker": None}))
    scene.tidying.sweep()
    assert scene.folder(job) == []


def test_a_cancelled_job_whose_worker_died_leaves_nothing(scene: Scene) -> None:
    slot = free_slot(scene.home, frozenset({"gpu"}))
    job = scene.job("cancelled", worker=slot.name)
    release = scene.released(job, step=4)
    assert TunedModels(scene.database).delete("mine", checkpoint_name(job, 4))
    scene.tidying.sweep()
    assert scene.folder(job) != []
    assert release.is_dir()
    slot.lock.close()
    scene.tidying.sweep()
    assert scene.folder(job) == []
    assert scene.run(job) == ["adapter", "report.html"]
    assert not release.exists()


def test_the_log_of_a_failed_job_stays_for_a_week(scene: Scene) -> None:
    job = scene.job("failed")
    scene.tidying.sweep()
    assert scene.folder(job) == ["trainer.log"]
    scene.now[0] = NOW + WEEK + 1.0
    scene.tidying.sweep()
    assert not (scene.home / "jobs" / job.id).exists()


def test_a_result_file_that_its_job_did_not_get_is_deleted(scene: Scene) -> None:
    details = FileDetails(project="mine", filename="step_metrics", purpose="fine-tune-results")
    got, lost = (scene.files.add(details, b"step\n").id for _ in range(2))
    for job, result in ((scene.job("succeeded", result_files=(got,)), got), (scene.job("cancelled"), lost)):
        JobFolder(scene.home, job.id).leave(Outcome(model="m", result_files=(result,)))
    scene.tidying.sweep()
    assert [file.id for file in scene.files.list("mine", limit=9).files] == [got]


def test_an_outcome_that_cannot_be_read_keeps_nothing_from_going(scene: Scene) -> None:
    jobs = [scene.job("succeeded") for _ in range(2)]
    (scene.home / "jobs" / jobs[0].id / "outcome.json").write_text('{"of": "another version"}')
    scene.tidying.sweep()
    assert [scene.folder(job) for job in jobs] == [[], []]


def test_a_deleted_model_takes_its_adapter_along_and_no_other(scene: Scene) -> None:
    job, running = scene.job("succeeded"), scene.job("running")
    whole, epoch = scene.released(job), scene.released(job, step=4)
    early = scene.released(running, step=4)
    models = TunedModels(scene.database)
    scene.tidying.sweep()
    assert whole.is_dir()
    assert models.delete("mine", checkpoint_name(job, 4))
    assert models.delete("mine", checkpoint_name(running, 4))
    scene.tidying.sweep()
    assert (whole.is_dir(), epoch.is_dir(), early.is_dir()) == (True, False, True)
    assert "adapter" in scene.run(job)
    assert models.delete("mine", model_name(job))
    scene.tidying.sweep()
    assert (whole.is_dir(), early.is_dir()) == (False, True)
    assert scene.run(job) == ["report.html"]
    assert "adapter" in scene.run(running)


@pytest.mark.parametrize("status", ["running", "succeeded"])
def test_an_adapter_stays_as_long_as_another_release_has_the_same(scene: Scene, status: JobStatus) -> None:
    job, twin = scene.job("succeeded"), scene.job(status)
    whole, epoch = scene.released(job, digest="same"), scene.released(job, step=4, digest="same")
    other = scene.released(twin, step=2, digest="same")
    models = TunedModels(scene.database)
    assert models.delete("mine", model_name(job))
    scene.tidying.sweep()
    assert (whole.is_dir(), epoch.is_dir(), other.is_dir()) == (True, True, True)
    assert models.delete("mine", checkpoint_name(job, 4))
    scene.tidying.sweep()
    assert (whole.is_dir(), epoch.is_dir(), other.is_dir()) == (True, True, True)
    assert models.delete("mine", checkpoint_name(twin, 2))
    scene.tidying.sweep()
    assert [place.is_dir() for place in (whole, epoch, other)] == [status == "running"] * 3


def test_what_the_database_does_not_know_is_left_alone_however_old(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [scene.job("running"), scene.job("succeeded")]
    before = [(scene.folder(job), scene.run(job)) for job in jobs]
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    tidying = Tidying(scene.home, other, lambda: scene.now[0])
    for job in jobs:
        os.utime(scene.home / "jobs" / job.id, (0, 0))
    for _ in range(2):
        tidying.sweep()
    other.close()
    assert [(scene.folder(job), scene.run(job)) for job in jobs] == before
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert all(any(job.id in line for line in told) for job in jobs)


def test_what_cannot_be_removed_is_told_once_and_keeps_nothing_else_from_going(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = sorted((scene.job("succeeded") for _ in range(2)), key=lambda job: job.id)
    held = scene.home / "jobs" / jobs[0].id / "datasets" / "abc" / "held"
    held.write_text("of another user")
    unlink = os.unlink

    def refuse(path: Any, *, dir_fd: int | None = None) -> None:
        if Path(path).name == "held":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        for _ in range(2):
            scene.tidying.sweep()
    left = [path for path in (scene.home / "jobs" / jobs[0].id).rglob("*") if path.is_file()]
    assert left == [held]
    assert scene.folder(jobs[1]) == []
    assert [scene.run(job) for job in jobs] == [["adapter", "report.html"]] * 2
    assert len([record for record in caplog.records if "held" in record.getMessage()]) == 1
    scene.tidying.sweep()
    assert scene.folder(jobs[0]) == []


def test_a_link_goes_and_not_what_it_points_to(scene: Scene, tmp_path: Path) -> None:
    jobs = [scene.job("succeeded") for _ in range(3)]
    places = (
        scene.home / "jobs" / jobs[0].id,
        scene.home / "jobs" / jobs[1].id / "datasets",
        scene.home / "runs" / f"{jobs[2].id}-0123456789ab" / "checkpoints",
    )
    for number, place in enumerate(places):
        place.rename(tmp_path / f"elsewhere-{number}")
        place.symlink_to(tmp_path / f"elsewhere-{number}")
    scene.tidying.sweep()
    assert not any(place.is_symlink() for place in places)
    assert [any(path.is_file() for path in (tmp_path / f"elsewhere-{number}").rglob("*")) for number in range(3)] == [
        True
    ] * 3
    assert [scene.folder(job) for job in jobs] == [[], [], []]
    assert [scene.run(job) for job in jobs] == [["adapter", "report.html"]] * 3
