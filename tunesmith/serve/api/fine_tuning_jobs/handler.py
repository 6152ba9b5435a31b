"""Fine-tuning jobs: made, looked at, stopped and set going again. All of it waits for the database in threads."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tunesmith.errors import NotFound, TunesmithError
from tunesmith.grade.grader import load_grader
from tunesmith.grade.graders.multi import Multi
from tunesmith.jobs.folder import JobFolder
from tunesmith.jobs.models import short_name
from tunesmith.serve.api.fine_tuning_jobs.objects import checkpoint_object, event_object, job_object
from tunesmith.serve.api.fine_tuning_jobs.protocol import Checkpoint, CreateJob, Event, JobObject, Supervised
from tunesmith.serve.api.fine_tuning_jobs.start import start_of
from tunesmith.serve.caller import Caller
from tunesmith.serve.failures import ApiError, invalid
from tunesmith.serve.pages import Page
from tunesmith.serve.service import Service
from tunesmith.store.jobs import Cut, JobStore, KeyReused, Retry
from tunesmith.types.base import digest_json
from tunesmith.types.files import StoredFile
from tunesmith.types.jobs import Integration, Job, JobRequest, JobStatus, Method

__all__ = ["Jobs", "Listing"]

_MEASURED_JOBS = 5
_CONTAINED = ("string_check", "text_similarity", "python", "json_schema")


class Listing(NamedTuple):
    """Which part of a list is asked for."""

    limit: int
    after: str | None
    metadata: Mapping[str, str]


class Jobs:
    """The jobs that `service` keeps; every call is for the project of the one who asks."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = JobStore(service.platform.database)

    def create(self, body: CreateJob, caller: Caller, key: str | None, again: bool) -> JobObject:
        """A new job, or the one that the same request made before (see `Retry`).

        Raises ApiError: an unknown model or file, a model that cannot be tuned further, a file of another purpose, a
        grader that cannot work or that the caller may not use.
        """
        project = caller.project
        start = start_of(body.model, project, self._service.catalogue)
        method = _method(body)
        if method.grader is not None and caller.role != "admin" and not _is_contained(method.grader):
            raise _not_for(caller)
        identity = self._store.new_identity()
        folder = JobFolder(self._service.platform.settings.home, identity)
        try:
            if start is not None:
                folder.take_parent(start)
            self._take(project, body.training_file, folder, "training_file")
            if body.validation_file is not None:
                self._take(project, body.validation_file, folder, "validation_file")
            request = JobRequest(
                project=project,
                model=body.model,
                base=self._service.catalogue.base.name,
                base_name=short_name(self._service.catalogue.base.name),
                context=self._service.engine.context_length,
                training_file=body.training_file,
                validation_file=body.validation_file,
                method=method,
                suffix=body.suffix,
                seed=secrets.randbelow(2**31) if body.seed is None else body.seed,
                metadata=body.metadata,
                integrations=tuple(_integration(each.wandb.model_dump()) for each in body.integrations or ()),
                priority=body.priority or 0,
                labels=body.labels or (),
            )
            retry = Retry(key, digest_json(body.model_dump(mode="json")), again)
            job, made = self._store.create(identity, request, retry)
        except KeyReused as error:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise invalid(error.message, None, "idempotency_key_reused") from None
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
        if not made:
            shutil.rmtree(folder.path, ignore_errors=True)
        return self._shown(job)

    def retrieve(self, identity: str, caller: Caller) -> JobObject:
        """The job as it is now."""
        return self._shown(self._store.get(caller.project, identity))

    def list(self, listing: Listing, caller: Caller) -> Page[JobObject]:
        """Jobs, newest first."""
        cut = self._store.list(caller.project, *listing)
        unfinished, done, now = self._others()
        return _page(Page[JobObject], cut, lambda job: job_object(job, unfinished, done, now))

    def events(self, identity: str, listing: Listing, caller: Caller) -> Page[Event]:
        """What the job said, newest first."""
        job = self._store.get(caller.project, identity)
        cut = self._store.events(job, listing.limit, listing.after)
        return _page(Page[Event], cut, event_object)

    def checkpoints(self, identity: str, listing: Listing, caller: Caller) -> Page[Checkpoint]:
        """The models of the last epochs, newest first."""
        job = self._store.get(caller.project, identity)
        cut = self._store.checkpoints(job, listing.limit, listing.after)
        return _page(Page[Checkpoint], cut, checkpoint_object)

    def cancel(self, identity: str, caller: Caller) -> JobObject:
        """Stop the job for good; what it is busy with ends within seconds."""

        def cancelled(job: Job) -> dict[str, Any]:
            return {"status": "cancelled", "finished_at": self._store.now()}

        allowed: tuple[JobStatus, ...] = ("validating_files", "queued", "running", "paused")
        return self._change(
            identity, caller, "cancel", allowed, cancelled, lambda _: ("The job was cancelled", "cancelled")
        )

    def pause(self, identity: str, caller: Caller) -> JobObject:
        """Stop the job where it is; its worker saves a checkpoint and is free within seconds."""
        allowed: tuple[JobStatus, ...] = ("validating_files", "queued", "running")

        def said(job: Job) -> tuple[str, str]:
            return "The job was paused", f"paused-{job.turn}"

        return self._change(identity, caller, "pause", allowed, lambda _: {"status": "paused"}, said)

    def resume(self, identity: str, caller: Caller) -> JobObject:
        """Let a paused job go on from the step it had reached, when its turn comes."""

        def resumed(job: Job) -> dict[str, Any]:
            return {"status": "validating_files" if job.rows is None else "queued", "turn": job.turn + 1}

        def said(job: Job) -> tuple[str, str]:
            return "The job was resumed, moving it to queued state", f"resumed-{job.turn}"

        return self._change(identity, caller, "resume", ("paused",), resumed, said)

    def _change(
        self,
        identity: str,
        caller: Caller,
        what: str,
        allowed: tuple[JobStatus, ...],
        changes: Callable[[Job], dict[str, Any]],
        said: Callable[[Job], tuple[str, str]],
    ) -> JobObject:
        """The job after `changes`, with the event (message, key) that `said` makes of it.

        Raises ApiError 400 when its status is none of the allowed ones.
        """
        found = self._store.get(caller.project, identity)

        def changed(job: Job) -> Job | None:
            return job.model_copy(update=changes(job)) if job.status in allowed else None

        job = self._store.change(found.id, changed, lambda job: [(*said(job), {})])
        if job is None:
            status = self._store.get(caller.project, identity).status
            listed = ", ".join(allowed)
            raise invalid(f"Cannot {what} the job {identity}: it is {status}, and {what} needs: {listed}.", None)
        return self._shown(job)

    def _shown(self, job: Job) -> JobObject:
        unfinished, done, now = self._others() if not job.finished else ((), (), 0)
        return job_object(job, unfinished, done, now)

    def _others(self) -> tuple[tuple[Job, ...], tuple[Job, ...], int]:
        return self._store.unfinished(), self._store.latest(_MEASURED_JOBS), self._store.now()

    def _take(self, project: str, identity: str, folder: JobFolder, param: str) -> None:
        """Keep the bytes of an uploaded file for the job."""
        name = folder.TRAINING if param == "training_file" else folder.VALIDATION
        files = self._service.platform.files
        try:
            file: StoredFile = files.get(project, identity)
            if file.purpose != "fine-tune":
                raise invalid(
                    f"The file {identity} has the purpose '{file.purpose}'; {param} needs one with 'fine-tune'.", param
                )
            folder.take(name, files.path(file))
        except (NotFound, FileNotFoundError):
            raise ApiError(404, f"No such File object: {identity}", param=param, code="file_not_found") from None


def _method(body: CreateJob) -> Method:
    """What was asked for, with "auto" where nothing was given. Raises ApiError 400 for a grader that cannot work."""
    if body.method is None:
        return Method(**_given(body.hyperparameters))
    own = getattr(body.method, body.method.type)
    numbers = _given(own.hyperparameters if own is not None else None)
    grader = body.method.reinforcement.grader if body.method.reinforcement else None
    if grader is not None:
        _require_grader(grader)
    return Method(type=body.method.type, grader=grader, **numbers)


def _given(numbers: Supervised | None) -> dict[str, Any]:
    """The numbers that a method keeps; what only ever has one value is checked by the protocol."""
    values = numbers.model_dump(exclude_none=True) if numbers is not None else {}
    return {name: value for name, value in values.items() if name in Method.model_fields}


def _require_grader(grader: dict[str, Any]) -> None:
    param = "method.reinforcement.grader"
    try:
        judges = load_grader(grader).judges()
    except TunesmithError as error:
        raise invalid(str(error), param) from None
    if judges:
        asked = ", ".join(judges)
        raise invalid(f"The grader asks the model {asked}; say where it is served: base_url.", param)


def _is_contained(spec: Mapping[str, Any]) -> bool:
    """Whether the grader asks no server and reads no folder that the request names. The worker that carries the job out
    can reach more than the caller, and reads a judge's key from a variable of its own environment.
    """
    grader = load_grader(spec)
    if isinstance(grader, Multi):
        return all(map(_is_contained, grader.graders.values()))
    return spec.get("type", spec.get("name")) in _CONTAINED and getattr(grader, "base_url", None) is None


def _not_for(caller: Caller) -> ApiError:
    return ApiError(
        403,
        "A grader that names a server (base_url) or a folder needs a key with the role admin; this key's role is "
        f"{caller.role}. Without one there are: {', '.join(_CONTAINED)}, multi.",
        param="method.reinforcement.grader",
        code="insufficient_permissions",
    )


def _integration(given: dict[str, Any]) -> Integration:
    return Integration.model_validate({name: value for name, value in given.items() if value is not None})


def _page(kind: type[Page[Any]], cut: Cut, shown: Callable[[Any], Any]) -> Any:
    data = tuple(shown(item) for item in cut.items)
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return kind(data=data, has_more=cut.has_more, first_id=first, last_id=last)
