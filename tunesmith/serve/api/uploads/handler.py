"""Files in parts: each part goes to the disk as it comes; completing writes, checks and keeps the whole file."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Sequence

from fastapi import Request

from tunesmith.serve.api.files.handler import keep_checked
from tunesmith.serve.api.files.lines import LIMITS
from tunesmith.serve.api.files.protocol import file_object
from tunesmith.serve.api.uploads.protocol import PART_BYTES, CompleteUpload, CreateUpload, PartObject, UploadObject
from tunesmith.serve.caller import Caller
from tunesmith.serve.failures import ApiError, invalid
from tunesmith.serve.forms import receive_form, room_on_disk, too_large
from tunesmith.serve.platform import Platform
from tunesmith.store.uploads import TooManyParts
from tunesmith.types.files import FileDetails, StoredFile
from tunesmith.types.uploads import Part, Upload

__all__ = ["add_part", "cancel", "complete", "create"]

_SECONDS = 3600


async def create(platform: Platform, caller: Caller, asked: CreateUpload) -> UploadObject:
    """Begin an upload; it is given up when it is not completed within an hour."""
    if asked.purpose == "batch" and asked.bytes > LIMITS.batch:
        raise too_large("A batch file", LIMITS.batch)
    if asked.purpose == "fine-tune" and asked.bytes > LIMITS.file:
        raise too_large("A training file", LIMITS.file)
    now = int(time.time())
    upload = Upload(
        **asked.model_dump(exclude={"expires_after"}),
        id=f"upload_{secrets.token_hex(12)}",
        project=caller.project,
        created_at=now,
        expires_at=now + _SECONDS,
        file_seconds=asked.expires_after.seconds if asked.expires_after else None,
    )
    await asyncio.to_thread(platform.uploads.add, upload)
    return _object(upload)


async def add_part(platform: Platform, caller: Caller, identity: str, request: Request) -> PartObject:
    """Keep one part.

    Raises NotFound; ApiError 400 for an upload that has ended and for more bytes than it was announced with, 413 for
    more than 64 MB.
    """
    upload = await asyncio.to_thread(platform.uploads.get, caller.project, identity)
    _require_pending(upload)
    with room_on_disk(), await asyncio.to_thread(platform.uploads.draft) as draft:
        form = await receive_form(request, draft, file="data", limit=PART_BYTES)
        if form.fields:
            raise invalid(
                f"Unrecognized request argument supplied: {next(iter(form.fields))}.", next(iter(form.fields))
            )
        try:
            part = await asyncio.to_thread(platform.uploads.add_part, upload, draft)
        except TooManyParts as error:
            raise invalid(error.message, "data") from None
    if part is None:
        raise _ended(await asyncio.to_thread(platform.uploads.get, caller.project, identity))
    return PartObject(id=part.id, created_at=part.created_at, upload_id=upload.id)


async def complete(platform: Platform, caller: Caller, identity: str, asked: CompleteUpload) -> UploadObject:
    """Make the file of the parts.

    Raises NotFound; ApiError 400 when the upload has ended, a part is unknown or named twice, size or MD5 differ, or
    the file is not what its purpose wants.
    """
    upload = await asyncio.to_thread(platform.uploads.get, caller.project, identity)
    _require_pending(upload)
    parts = _ordered(await asyncio.to_thread(platform.uploads.parts, upload), asked.part_ids)
    size = sum(part.bytes for part in parts)
    if size != upload.bytes:
        raise invalid(
            f"The parts have {size} bytes together; the upload was announced with {upload.bytes}.", "part_ids"
        )
    with room_on_disk():
        stored = await asyncio.to_thread(_join, platform, upload, parts, asked.md5)
    ended = await asyncio.to_thread(platform.uploads.end, upload, "completed", stored.id)
    if ended is None:  # another request ended it while this one wrote
        await asyncio.to_thread(platform.files.delete, upload.project, stored.id)
        raise _ended(await asyncio.to_thread(platform.uploads.get, caller.project, identity))
    return _object(ended, stored)


async def cancel(platform: Platform, caller: Caller, identity: str) -> UploadObject:
    """Give the upload up. Raises NotFound, ApiError 400 when it has ended."""
    upload = await asyncio.to_thread(platform.uploads.get, caller.project, identity)
    ended = await asyncio.to_thread(platform.uploads.end, upload, "cancelled")
    if ended is None:
        raise _ended(await asyncio.to_thread(platform.uploads.get, caller.project, identity))
    return _object(ended)


def _join(platform: Platform, upload: Upload, parts: Sequence[Part], md5: str | None) -> StoredFile:
    running = hashlib.md5(usedforsecurity=False)
    with platform.files.draft() as draft:
        try:
            for piece in platform.uploads.pieces(parts):
                running.update(piece)
                draft.write(piece)
        except FileNotFoundError:
            raise _ended(platform.uploads.get(upload.project, upload.id)) from None
        if md5 is not None and md5.lower() != running.hexdigest():
            raise invalid(f"The parts have the MD5 {running.hexdigest()} together, not {md5.lower()}.", "md5")
        expires_at = None if upload.file_seconds is None else int(time.time()) + upload.file_seconds
        details = FileDetails(
            project=upload.project, filename=upload.filename, purpose=upload.purpose, expires_at=expires_at
        )
        return keep_checked(platform, details, draft)


def _ordered(known: dict[str, Part], wanted: Sequence[str]) -> list[Part]:
    unknown = [identity for identity in wanted if identity not in known]
    if unknown:
        raise invalid(f"The upload has no part {unknown[0]!r}.", "part_ids")
    if len(set(wanted)) < len(wanted):
        raise invalid("A part is named more than once.", "part_ids")
    return [known[identity] for identity in wanted]


def _require_pending(upload: Upload) -> None:
    if upload.status != "pending":
        raise _ended(upload)


def _ended(upload: Upload) -> ApiError:
    return invalid(
        f"The upload {upload.id} is not pending any more: it is {upload.status}.", None, "upload_not_pending"
    )


def _object(upload: Upload, stored: StoredFile | None = None) -> UploadObject:
    shown = upload.model_dump(include=UploadObject.model_fields.keys() - {"file"})
    return UploadObject.model_validate({**shown, "file": file_object(stored) if stored else None})
