"""Files come in as a stream to the disk, are checked there, and only then get an id."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from tunesmith.serve.api.files.lines import LIMITS, check_lines
from tunesmith.serve.api.files.protocol import CreateFile, DeletedFile, Examples, FileName, FileObject, file_object
from tunesmith.serve.caller import Caller
from tunesmith.serve.failures import ApiError, invalid
from tunesmith.serve.forms import nested, receive_form, room_on_disk, too_large
from tunesmith.serve.pages import Page
from tunesmith.serve.platform import Platform
from tunesmith.store.blobs import Draft
from tunesmith.types.base import Value
from tunesmith.types.files import FileDetails, Purpose, StoredFile

__all__ = ["Content", "Listing", "content", "create", "delete", "keep_checked", "list_files", "retrieve"]

_JSON_BYTES = 32 << 20
_PIECE = 1 << 18

Kind = TypeVar("Kind", bound=Value)


class _Named(Value):
    """The name of the file's part of the form."""

    file: FileName


class Listing(NamedTuple):
    """Which files are listed, and from where."""

    purpose: Purpose | None
    limit: int
    after: str | None
    order: Literal["asc", "desc"]


class Content(NamedTuple):
    """The bytes of a file: how many, and as they are read."""

    size: int
    pieces: AsyncIterator[bytes]


async def create(platform: Platform, caller: Caller, request: Request) -> FileObject:
    """Keep the file of the form (or the examples of the JSON body) when it is what its purpose wants.

    Raises ApiError 400 that names line and field, 413 for a file that is too large, 507 for a full disk.
    """
    with room_on_disk(), await asyncio.to_thread(platform.files.draft) as draft:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
            asked, filename = await _examples(request, draft)
        else:
            form = await receive_form(request, draft, file="file", limit=LIMITS.file)
            asked = _validated(CreateFile, nested(form.fields))
            filename = _validated(_Named, {"file": form.filename}).file
        expires_at = int(time.time()) + asked.expires_after.seconds if asked.expires_after else None
        details = FileDetails(project=caller.project, filename=filename, purpose=asked.purpose, expires_at=expires_at)
        return file_object(await asyncio.to_thread(keep_checked, platform, details, draft))


def keep_checked(platform: Platform, details: FileDetails, draft: Draft) -> StoredFile:
    """Make a file of the draft when its lines are what its purpose wants. Raises ApiError; OSError for a full disk."""
    draft.flush()
    check_lines(draft.path, details.purpose)
    return platform.files.keep(details, draft)


async def list_files(platform: Platform, caller: Caller, listing: Listing) -> Page[FileObject]:
    """A page of the project's files. Raises UnknownCursor for a cursor that is no file."""

    def found() -> Page[FileObject]:
        page = platform.files.list(
            caller.project,
            listing.purpose,
            limit=listing.limit,
            after=listing.after,
            oldest=listing.order == "asc",
        )
        data = tuple(map(file_object, page.files))
        ends = (data[0].id, data[-1].id) if data else (None, None)
        return Page[FileObject](data=data, has_more=page.has_more, first_id=ends[0], last_id=ends[1])

    return await asyncio.to_thread(found)


async def retrieve(platform: Platform, caller: Caller, identity: str) -> FileObject:
    """One file. Raises NotFound."""
    return file_object(await asyncio.to_thread(platform.files.get, caller.project, identity))


async def content(platform: Platform, caller: Caller, identity: str) -> Content:
    """The bytes of one file. Raises NotFound."""
    found = await asyncio.to_thread(platform.files.get, caller.project, identity)
    return Content(found.bytes, _pieces(await asyncio.to_thread(platform.files.open, found)))


async def delete(platform: Platform, caller: Caller, identity: str) -> DeletedFile:
    """Forget one file. Raises NotFound."""
    await asyncio.to_thread(platform.files.delete, caller.project, identity)
    return DeletedFile(id=identity)


async def _pieces(stream: BinaryIO) -> AsyncIterator[bytes]:
    with stream:
        while piece := await asyncio.to_thread(stream.read, _PIECE):
            yield piece


async def _examples(request: Request, draft: Draft) -> tuple[CreateFile, str]:
    """Write the examples of a JSON body to the draft, one a line."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _JSON_BYTES:
            raise too_large("A list of examples", _JSON_BYTES)
    try:
        asked = _validated(Examples, json.loads(body))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ApiError):
            raise
        raise invalid("The body of the request is not valid JSON.", None) from None
    for example in asked.examples:
        line = json.dumps(example, ensure_ascii=False) + "\n"
        draft.write(line.encode(errors="surrogatepass"))
    return asked, asked.filename


def _validated(kind: type[Kind], given: Any) -> Kind:
    """`given` as `kind`; its faults are told as those of any request."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise RequestValidationError(faults) from None
