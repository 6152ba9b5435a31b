"""Batches are taken here and worked on by `worker`."""

from __future__ import annotations

import asyncio
import secrets
import time

from tunesmith.errors import NotFound
from tunesmith.serve.api.batches.protocol import BatchObject, CreateBatch, batch_object
from tunesmith.serve.caller import Caller
from tunesmith.serve.failures import invalid
from tunesmith.serve.pages import Page
from tunesmith.serve.platform import Platform
from tunesmith.types.batches import OPEN, Batch

__all__ = ["cancel", "create", "list_batches", "retrieve"]

_WINDOW = 24 * 3600


async def create(platform: Platform, caller: Caller, asked: CreateBatch) -> BatchObject:
    """Take a batch. Raises ApiError 400 when its file is unknown or no batch file."""

    def taken() -> Batch:
        try:
            file = platform.files.get(caller.project, asked.input_file_id)
        except NotFound as error:
            raise invalid(error.message, "input_file_id", "file_not_found") from None
        if file.purpose != "batch":
            message = f"The file {file.id} has the purpose '{file.purpose}'; upload it with the purpose 'batch'."
            raise invalid(message, "input_file_id", "wrong_purpose")
        now = int(time.time())
        batch = Batch(
            id=f"batch_{secrets.token_hex(12)}",
            project=caller.project,
            key=caller.key,
            role=caller.role,
            endpoint=asked.endpoint,
            input_file_id=file.id,
            metadata=asked.metadata,
            output_expires_after=asked.output_expires_after.seconds if asked.output_expires_after else None,
            created_at=now,
            expires_at=now + _WINDOW,
        )
        platform.batches.add(batch)
        return batch

    return batch_object(await asyncio.to_thread(taken))


async def retrieve(platform: Platform, caller: Caller, identity: str) -> BatchObject:
    """One batch. Raises NotFound."""
    return batch_object(await asyncio.to_thread(platform.batches.get, caller.project, identity))


async def list_batches(platform: Platform, caller: Caller, limit: int, after: str | None) -> Page[BatchObject]:
    """A page of the project's batches, the newest first. Raises UnknownCursor for a cursor that is no batch."""

    def found() -> Page[BatchObject]:
        page = platform.batches.list(caller.project, limit=limit, after=after)
        data = tuple(map(batch_object, page.batches))
        ends = (data[0].id, data[-1].id) if data else (None, None)
        return Page[BatchObject](data=data, has_more=page.has_more, first_id=ends[0], last_id=ends[1])

    return await asyncio.to_thread(found)


async def cancel(platform: Platform, caller: Caller, identity: str) -> BatchObject:
    """Ask for a batch to end: what is answered stays. Raises NotFound, ApiError 400 when it has ended."""

    def cancelling(batch: Batch) -> Batch:
        if batch.status not in OPEN:
            raise invalid(f"The batch {batch.id} cannot be cancelled: it is {batch.status}.", None, "batch_not_open")
        if batch.status == "cancelling":
            return batch
        return batch.model_copy(update={"status": "cancelling", "cancelling_at": int(time.time())})

    return batch_object(await asyncio.to_thread(platform.batches.change, caller.project, identity, cancelling))
