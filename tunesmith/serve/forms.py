"""Forms with a file (`multipart/form-data`), whose file goes to the disk as it comes and never lies in memory."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tunesmith.serve.failures import ApiError, invalid
from tunesmith.store.blobs import Draft

__all__ = ["Form", "nested", "receive_form", "room_on_disk", "too_large"]

_FIELD_BYTES = 64 * 1024
_FIELDS = 100
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Form(NamedTuple):
    """The text fields of a form, and the name of the file that was written to the draft."""

    fields: dict[str, str]
    filename: str


def too_large(what: str, limit: int) -> ApiError:
    """413 for something that may have `limit` bytes."""
    return ApiError(413, f"{what} is larger than the limit of {limit >> 20} MB.", param="file", code="file_too_large")


@contextmanager
def room_on_disk() -> Iterator[None]:
    """A full disk inside the block is told as 507, whatever was being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        message = "The server's disk is full; nothing of this request was kept."
        raise ApiError(507, message, kind="server_error", code="disk_full") from error


def nested(fields: dict[str, str]) -> dict[str, Any]:
    """{"a[b]": "1", "c": "2"} -> {"a": {"b": "1"}, "c": "2"}, as OpenAI's clients write objects in forms."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        outer, bracket, inner = name.partition("[")
        if not bracket or not inner.endswith("]"):
            found[name] = value
        elif isinstance(found.setdefault(outer, {}), dict):
            found[outer][inner[:-1]] = value
    return found


async def receive_form(request: Request, draft: Draft, *, file: str, limit: int) -> Form:
    """Read the form of `request`; the part named `file` is written to `draft`.

    A file of more than `limit` bytes is read on for as much again, so that the client hears the answer.

    Raises ApiError 400 for what is no whole form with such a part, 413 for a larger file, 507 for a full disk;
    starlette.requests.ClientDisconnect when the client goes away.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise invalid(f"The body must be a form (multipart/form-data) with a part named '{file}'.", None)
    reader = _Reader(boundary, draft, file, limit)
    async for piece in request.stream():
        if piece:
            with room_on_disk():
                await asyncio.to_thread(reader.feed, piece)
        if reader.size > 2 * limit:
            break
    return reader.finished()


class _Reader:
    """Takes the bytes of one form apart."""

    def __init__(self, boundary: bytes, draft: Draft, file: str, limit: int) -> None:
        self.size = 0
        self._draft, self._file, self._limit = draft, file, limit
        self._fields: dict[str, bytearray] = {}
        self._filename: str | None = None
        self._headers: dict[bytes, bytes] = {}
        self._header = [b"", b""]
        self._name: str | None = None  # of the part being read; None: it is the file
        self._whole = False
        self._parser = _parser(boundary, self)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Raises ApiError when they are no form, OSError when the disk is full."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise invalid(f"The body is no valid form: {error}", None) from None

    def finished(self) -> Form:
        """The form, when all of it came. Raises ApiError."""
        if self.size > self._limit:
            raise too_large("The file", self._limit)
        if not self._whole:
            raise invalid("The form breaks off before its end; send it again.", self._file)
        if self._filename is None:
            raise invalid(f"Missing required parameter: '{self._file}' (a part with a filename).", self._file)
        try:
            return Form({name: bytes(value).decode() for name, value in self._fields.items()}, self._filename)
        except UnicodeDecodeError:
            raise invalid("A field of the form is not UTF-8.", None) from None

    def on_part_begin(self) -> None:
        """A new part."""
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's name."""
        self._header[0] += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's value."""
        self._header[1] += data[start:end]

    def on_header_end(self) -> None:
        """A header is whole."""
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def on_headers_finished(self) -> None:
        """What the part is."""
        _, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        name = options.get(b"name", b"").decode(errors="replace")
        if name == self._file and b"filename" in options:
            if self._filename is not None:
                raise invalid(f"The form has more than one part named '{name}'.", name)
            self._name, self._filename = None, options[b"filename"].decode(errors="replace")
            return
        if name == self._file:
            raise invalid(f"'{name}' must be a file: give the part a filename.", name)
        if name in self._fields or len(self._fields) == _FIELDS:
            raise invalid(f"The form has more than one part named '{name}', or too many parts.", name)
        self._name = name
        self._fields[name] = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of what the part holds."""
        if self._name is None:
            self.size += end - start
            if self.size <= self._limit:
                self._draft.write(data[start:end])
            return
        value = self._fields[self._name]
        value += data[start:end]
        if len(value) > _FIELD_BYTES:
            raise invalid(f"The field '{self._name}' is longer than {_FIELD_BYTES >> 10} KB.", self._name)

    def on_end(self) -> None:
        """The form is whole."""
        self._whole = True


def _parser(boundary: bytes, reader: _Reader) -> MultipartParser:
    """A parser that calls the methods of `reader`."""
    return MultipartParser(
        boundary,
        {
            "on_part_begin": reader.on_part_begin,
            "on_header_field": reader.on_header_field,
            "on_header_value": reader.on_header_value,
            "on_header_end": reader.on_header_end,
            "on_headers_finished": reader.on_headers_finished,
            "on_part_data": reader.on_part_data,
            "on_end": reader.on_end,
        },
    )
