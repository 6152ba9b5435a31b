"""From a file's bytes to pieces of text: unpacked, decoded, with plain newlines, and never the whole file at once."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from typing import NoReturn

from tunesmith.errors import DataError, Problem, nearest
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.unpacking import unpacked

__all__ = ["MOST_CHARACTERS", "decoded", "numbered_lines", "text_pieces", "too_long"]

MOST_CHARACTERS = 64 << 20
"""The longest line, row or single JSON object that is read, in characters."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_COMMON = ("utf-8", "cp1252", "latin-1", "utf-16", "shift_jis", "gb18030", "euc_kr", "big5", "koi8_r", "cp1251")


def text_pieces(file: Input) -> Iterator[str]:
    """The file's text from its beginning, piece by piece, every line end a plain newline.

    Raises:
        DataError: the file cannot be opened, is packed badly or too tightly, or is not in its encoding.
        MissingDependency: it is packed by zst and `zstandard` is not installed.
    """
    with file.open() as stream:
        yield from decoded(unpacked(stream), file.spec.encoding)


def decoded(chunks: Iterable[bytes], encoding: str | None) -> Iterator[str]:
    """The text of `chunks`: by its byte-order mark, else as `encoding` says, else UTF-8.

    Raises:
        DataError: a byte is not in the encoding (by line, column and offset in the unpacked file), or is zero.
    """
    mark, name = b"", _checked(encoding) if encoding else "utf-8"
    reader: _Decoding | None = None
    for chunk in _with_end(chunks):
        if reader is None:
            mark, name = _mark(chunk or b"", name, encoding)
            reader = _Decoding(name, len(mark))
            chunk = (chunk or b"")[len(mark) :] if chunk is not None else None
        yield reader.text(chunk)


def _with_end(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    yield from chunks
    yield None


def _checked(encoding: str) -> str:
    try:
        known = codecs.lookup(encoding)
        "".encode(known.name)  # refuses codecs that are not about text, such as hex
    except LookupError:
        close = nearest(encoding.lower(), _COMMON)
        fix = f"did you mean {close!r}?" if close else f"write one of {', '.join(_COMMON)}, or another of Python's"
        raise DataError([Problem(f"{encoding!r} is no encoding", field="encoding", fix=fix)]) from None
    return known.name


def _mark(start: bytes, name: str, declared: str | None) -> tuple[bytes, str]:
    """The byte-order mark that `start` has, and the encoding that it or the recipe says."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            if declared and not encoding.startswith(name):
                message = f"the file begins with the byte-order mark of {encoding.upper()}, not of {declared}"
                raise DataError([Problem(message, line=1, field="encoding", fix="remove encoding for this source")])
            return mark, encoding
    return b"", name


class _Decoding:
    """Decodes chunk after chunk and knows the line, column and offset of what it cannot read."""

    def __init__(self, encoding: str, offset: int) -> None:
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._newlines = io.IncrementalNewlineDecoder(None, translate=True)
        self._fed = offset
        self._line, self._column = 1, 0

    def text(self, chunk: bytes | None) -> str:
        """The text of the next chunk, or of what is left when it is None."""
        try:
            text = self._newlines.decode(self._decoder.decode(chunk or b"", chunk is None), chunk is None)
        except UnicodeDecodeError as error:
            self._refuse_byte(error, len(chunk or b""))
        if "\x00" in text:
            line = self._line + text.count("\n", 0, text.index("\x00"))
            fix = "give a text file saved as UTF-8 (JSONL, JSON, CSV, TSV), or Parquet or Arrow"
            raise DataError([Problem("the file holds binary data (a zero byte)", line=line, fix=fix)])
        self._fed += len(chunk or b"")
        self._move(text)
        return text

    def _move(self, text: str) -> None:
        lines = text.count("\n")
        self._line += lines
        self._column = len(text) - text.rfind("\n") - 1 if lines else self._column + len(text)

    def _refuse_byte(self, error: UnicodeDecodeError, length: int) -> NoReturn:
        before = error.object[: error.start].decode(self._encoding)
        self._move(self._newlines.decode(before, True))
        offset = self._fed - (len(error.object) - length) + error.start
        found = f"byte 0x{error.object[error.start]:02x} at column {self._column + 1} is not {self._encoding.upper()}"
        fix = "save the file as UTF-8, or say what it is, for example encoding: cp1252"
        raise DataError([Problem(f"{found} (offset {offset})", line=self._line, fix=fix)]) from None


def numbered_lines(pieces: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Each line with its number (from 1), without its line end; no line after a last line end.

    Raises:
        DataError: a line is longer than `MOST_CHARACTERS`.
    """
    number, rest = 1, ""
    for piece in pieces:
        *lines, rest = f"{rest}{piece}".split("\n")
        for line in lines:
            yield number, line
            number += 1
        if len(rest) > MOST_CHARACTERS:
            raise DataError([too_long(number, "line")])
    if rest:
        yield number, rest


def too_long(line: int, what: str) -> Problem:
    """The problem of a line, row or object that goes on and on."""
    message = f"a {what} that starts here is longer than {MOST_CHARACTERS >> 20} Mi characters"
    return Problem(message, line=line, fix="write one JSON object a line (JSONL); is this the right file?")
