"""What a worker makes of a job that its trainer is done with, when something came between the two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith.jobs.folder import JobFolder, Outcome
from tunesmith.jobs.models import model_name
from tunesmith.jobs.settling import Settling
from tunesmith.settings import Settings
from tunesmith.store.database import Database
from tunesmith.store.jobs import JobStore, Retry
from tunesmith.store.tuned import TunedModels
from tunesmith.types.jobs import Job, JobRequest, JobStatus

REQUEST = JobRequest(
    project="mine", model="base", base="tiny", base_name="tiny", context=64, training_file="file-1", seed=0
)


class Scene:
    """A running job whose trainer has just left its outcome."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.database = Database(self.settings.database)
        self.store = JobStore(self.database)
        job, _ = self.store.create(self.store.new_identity(), REQUEST, Retry(None, "digest"))
        self.job = self.turned(job, "running")
        self.folder = JobFolder(home, job.id)
        self.folder.path.mkdir(parents=True)
        self.folder.leave(Outcome(model=model_name(job), release="r" * 64, trained_tokens=7))

    def turned(self, job: Job, status: JobStatus) -> Job:
        changes = {"status": status, "worker": "worker-1"}
        found = self.store.change(job.id, lambda job: job.model_copy(update=changes))
        assert found is not None
        return found

    def settled(self) -> Job:
        Settling(self.settings.home, self.store).after_training(self.job.id, self.job.turn, "done")
        found = self.store.job(self.job.id)
        assert found is not None
        return found

    def models(self) -> list[str]:
        return [model.name for model in TunedModels(self.database).list("mine")]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.database.close()


def test_a_job_that_succeeds_has_its_model(scene: Scene) -> None:
    assert scene.models() == []
    assert (scene.settled().status, scene.models()) == ("succeeded", [model_name(scene.job)])


def test_a_job_that_is_cancelled_as_its_trainer_ends_leaves_no_model(scene: Scene) -> None:
    scene.turned(scene.job, "cancelled")
    settled = scene.settled()
    assert (settled.status, settled.model, settled.worker) == ("cancelled", None, None)
    assert scene.models() == []


def test_a_model_that_was_deleted_does_not_come_back_when_its_job_is_settled_again(scene: Scene) -> None:
    scene.settled()
    assert TunedModels(scene.database).delete("mine", model_name(scene.job))
    assert scene.settled().status == "succeeded"
    assert scene.models() == []
