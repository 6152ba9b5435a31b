"""CSV and TSV to rows: a header, then one row per record; cells may span lines when quoted."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.pieces import numbered_lines
from tunesmith.prepare.table import Reread, Row, Table

__all__ = ["read_delimited"]

_DELIMITERS: Mapping[str, str] = {",": ".csv", "\t": ".tsv", ";": ".csv"}
_MOST_FAULTS = 1000


def read_delimited(pieces: Callable[[], Iterator[str]], suffix: str) -> Table:
    """The rows of the text whose pieces `pieces` gives anew each time; the delimiter (comma, tab, semicolon) is the one
    that divides the header most often.

    Every cell stays text: nothing is guessed to be a number or a date. Blank lines between records hold no row.

    Raises:
        DataError: while the rows are iterated: an unclosed quote, a record with too many or too few cells (reading
            stops at the thousandth), a column named twice, a header alone.
    """
    first_line = next((line for _, line in numbered_lines(pieces()) if line), "")
    delimiter = max(_DELIMITERS, key=lambda mark: (first_line.count(mark), _DELIMITERS[mark] == suffix))
    return Table("tsv" if delimiter == "\t" else "csv", Reread(lambda: _rows(pieces(), delimiter)))


def _rows(pieces: Iterator[str], delimiter: str) -> Iterator[Row]:
    faults: list[Problem] = []
    header: list[str] = []
    rows = 0
    try:
        for line, cells in _records(pieces, delimiter):
            if not header:
                header = _checked_header(cells, line)
            elif len(cells) == len(header):
                yield Row(line, dict(zip(header, cells, strict=True)))
                rows += 1
            else:
                faults.append(_wrong_width(line, cells, header, delimiter))
            if len(faults) >= _MOST_FAULTS:
                break
    except DataError as error:
        faults.extend(error.problems)
    if faults:
        raise DataError(faults)
    if not rows:
        message = f"a header ({', '.join(header)}) and no rows"
        raise DataError([Problem(message, line=1, fix="add at least one row below the header")])


def _records(pieces: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it starts at."""
    reader = csv.reader((f"{line}\n" for _, line in numbered_lines(pieces)), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError([_csv_problem(str(error), line, reader.line_num)]) from None
        if cells:
            yield line, cells


def _csv_problem(message: str, start: int, end: int) -> Problem:
    if "unexpected end of data" in message:
        return Problem("a quoted cell that starts here is never closed", line=start, fix='close it with a "')
    if "expected after" in message:
        where = "" if start == end else f" (in the record that starts at line {start})"
        return Problem(
            f"a quote ends a cell in its middle{where}", line=end, fix='write a quote inside a quoted cell twice: ""'
        )
    if "field larger" in message:
        limit = csv.field_size_limit()
        return Problem(
            f"a cell is longer than {limit} characters", line=start, fix="close the quote it starts with, or use JSONL"
        )
    return Problem(f"not a valid record: {message}", line=start, fix="quote cells that hold quotes or line ends")


def _checked_header(cells: list[str], line: int) -> list[str]:
    header = [cell.strip() for cell in cells]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        names = ", ".join(repr(name) for name in twice)
        raise DataError(
            [Problem(f"the header names a column twice: {names}", line=line, fix="give each column its own name")]
        )
    return header


def _wrong_width(line: int, cells: list[str], header: list[str], delimiter: str) -> Problem:
    missing = header[len(cells)] if len(cells) < len(header) else None
    mark = {"\t": "tab", ",": "comma", ";": "semicolon"}[delimiter]
    more = len(cells) > len(header)
    fix = f'put cells that hold a {mark} in "quotes"' if more else "add the missing cell"
    count = f"{len(cells)} cell{'s' if len(cells) != 1 else ''}"
    return Problem(f"{count} where the header has {len(header)}", line=line, field=missing, fix=fix)
