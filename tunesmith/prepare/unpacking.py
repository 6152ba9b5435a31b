"""Unpacks gzip and Zstandard while reading, told by a file's first bytes, and stops at files that only burst."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator

from tunesmith.errors import DataError, MissingDependency, Problem

__all__ = ["FREE_BYTES", "MOST_RATIO", "PACKED", "unpacked"]

MOST_RATIO = 200
"""A packed file that unpacks to more than this many times its size is refused: text shrinks 3 to 50 times."""
FREE_BYTES = 64 << 20
"""So many bytes may come out of any file, however small."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PACKED = (_GZIP, _ZSTD)
_PIECE = 1 << 20
_ZSTD_PIECE = 1 << 10  # unpacks to 32 MiB at the very most


def unpacked(stream: io.BufferedReader) -> Iterator[bytes]:
    """The bytes of `stream` in pieces, unpacked when gzip or Zstandard packed them.

    Raises:
        DataError: it is cut off or damaged, or unpacks to more than 64 MiB and `MOST_RATIO` times its size.
        MissingDependency: it is packed by Zstandard and `zstandard` is not installed.
    """
    start = stream.peek(4)[:4]
    if not start.startswith(PACKED):
        yield from _read(stream, _PIECE)
        return
    total = 0
    for piece in _gunzipped(stream) if start.startswith(_GZIP) else _unzstd(stream):
        total += len(piece)
        if total > max(FREE_BYTES, MOST_RATIO * stream.tell()):
            message = f"unpacks to more than {MOST_RATIO} times its size ({total >> 20} MiB so far)"
            raise DataError([Problem(message, fix="unpack it yourself if that is meant, and give the unpacked file")])
        yield piece


def _read(stream: io.BufferedReader, size: int) -> Iterator[bytes]:
    try:
        while piece := stream.read(size):
            yield piece
    except OSError as error:
        fix = "check the file and its disk"
        raise DataError([Problem(f"cannot be read: {error.strerror or error}", fix=fix)]) from None


def _gunzipped(stream: io.BufferedReader) -> Iterator[bytes]:
    source = gzip.GzipFile(fileobj=stream)
    while True:
        try:
            piece = source.read(_PIECE)
        except EOFError:
            raise DataError([_cut_off()]) from None
        except (OSError, zlib.error) as error:  # BadGzipFile is an OSError
            raise DataError([_damaged(error)]) from None
        if not piece:
            return
        yield piece


def _unzstd(stream: io.BufferedReader) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingDependency(
            "Files packed by Zstandard need the package zstandard.", hint="pip install 'tunesmith[zstd]'"
        ) from None
    frame = zstandard.ZstdDecompressor().decompressobj()
    for packed in _read(stream, _ZSTD_PIECE):
        rest = packed
        while rest:
            if frame.eof:  # a file may hold one frame after the other
                frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(rest)
            except zstandard.ZstdError as error:
                raise DataError([_damaged(error)]) from None
            rest = frame.unused_data if frame.eof else b""
    if not frame.eof:
        raise DataError([_cut_off()])


def _cut_off() -> Problem:
    return Problem("the packed file is cut off", fix="fetch or write it again: its end is missing")


def _damaged(error: Exception) -> Problem:
    return Problem(f"the packed file is damaged: {error}", fix="fetch or write it again")
