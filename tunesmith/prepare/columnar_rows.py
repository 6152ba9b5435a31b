"""Parquet and Arrow files to rows, some thousand at a time."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator
from typing import Any, Literal

from tunesmith.errors import DataError, MissingDependency, Problem
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.table import Reread, Row, Table

__all__ = ["COLUMNAR", "read_columnar"]

Kind = Literal["parquet", "arrow"]
_STREAM = b"\xff\xff\xff\xff"
COLUMNAR: tuple[tuple[bytes, Kind], ...] = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (_STREAM, "arrow"))
"""What such files begin with: Parquet, an Arrow file (Feather), an Arrow stream (as `datasets` caches them)."""
_BATCH = 4096


def read_columnar(file: Input, kind: Kind) -> Table:
    """The rows of `file`; dates and decimals become texts, NaN says nothing (null).

    Raises:
        MissingDependency: pyarrow is not installed.
        DataError: the recipe declares an encoding. While the rows are iterated: the file is damaged, names a column
            twice, or a column holds bytes.
    """
    try:
        import pyarrow  # noqa: F401  # asked for here so that its absence is known before anything is read
    except ImportError:
        raise MissingDependency(
            f"{file.name}: files of the kind {kind} need the package pyarrow.", hint="pip install 'tunesmith[parquet]'"
        ) from None
    if file.spec.encoding:
        fix = "remove encoding for this source"
        raise DataError([Problem(f"a {kind} file has no encoding to declare", field="encoding", fix=fix)])
    return Table(kind, Reread(lambda: _rows(file, kind)))


def _rows(file: Input, kind: Kind) -> Iterator[Row]:
    import pyarrow

    number = 0
    with file.open() as stream:
        try:
            for batch in _batches(stream, kind):
                names = batch.schema.names
                if twice := next((name for name in names if names.count(name) > 1), None):
                    fix = "give each column its own name"
                    raise DataError([Problem("the file names a column twice", field=twice, fix=fix)])
                for fields in batch.to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    yield Row(number, {name: _plain(value, name, number) for name, value in fields.items()})
        except (pyarrow.ArrowException, OSError) as error:
            message = f"the {kind} file is damaged: {error}"
            raise DataError([Problem(message, line=number + 1, fix="fetch or write it again")]) from None


def _batches(stream: Any, kind: Kind) -> Iterator[Any]:
    import pyarrow.ipc
    import pyarrow.parquet

    if kind == "parquet":
        yield from pyarrow.parquet.ParquetFile(stream).iter_batches(_BATCH)
    elif stream.peek(4)[:4] == _STREAM:
        yield from pyarrow.ipc.open_stream(stream)
    else:
        reader = pyarrow.ipc.open_file(stream)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def _plain(value: Any, name: str, number: int) -> Any:
    """The value as JSON could hold it."""
    if isinstance(value, dict):
        return {key: _plain(inside, name, number) for key, inside in value.items()}
    if isinstance(value, list):
        return [_plain(inside, name, number) for inside in value]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        fix = "write it as a text, or remove the row"
        raise DataError([Problem("is infinite", line=number, field=name, fix=fix)])
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta):
        return str(value)
    if isinstance(value, bytes):
        fix = "write the column as text (images and audio are not read)"
        raise DataError([Problem("holds bytes, not text", line=number, field=name, fix=fix)])
    return value
