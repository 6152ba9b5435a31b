"""rows: a JSONL or CSV file whose rows have the fields of one item type."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tunesmith.errors import DataError, NotFound, Problem, RecipeError
from tunesmith.evaluate.item import read_item
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["Rows"]

DELIMITERS: Mapping[str, str] = MappingProxyType({".csv": ",", ".tsv": "\t"})


class Rows(Value):
    """`type` is what each row is.

    A row's fields are the item's, unless `columns` says which column each field is taken from (a list of columns makes
    a list); `tags` takes slices from columns: `{language: lang}`. A CSV's empty cells are fields that are not given.
    """

    type: str
    columns: dict[str, str | tuple[str, ...]] = {}
    tags: dict[str, str] = {}

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """One item per row. Raises DataError with every problem of the first row that is none."""
        rows = _delimited(path) if path.suffix.lower() in DELIMITERS else _json_lines(path)
        for line, row in islice(rows, limit or None):
            try:
                item, _ = read_item(self._fields(row), "row")
            except KeyError as error:
                fix = f"it has: {', '.join(row)}"
                raise DataError([Problem(f"there is no column {error}", file=str(path), line=line, fix=fix)]) from None
            except NotFound as error:
                raise DataError([Problem(error.message, file=str(path), line=line, fix=error.hint)]) from None
            except RecipeError as error:
                found = [Problem(each.message, str(path), line, each.field, each.fix) for each in error.problems]
                raise DataError(found, message=f"{path} has a row that is no {self.type}:") from None
            yield item

    def _fields(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What of a row the item type gets."""
        if self.columns:
            named: dict[str, Any] = {
                field: row[column] if isinstance(column, str) else [row[each] for each in column]
                for field, column in self.columns.items()
            }
        else:
            named = {column: value for column, value in row.items() if column not in self.tags.values()}
        tags = {tag: str(row[column]) for tag, column in self.tags.items()}
        return {"type": self.type, **named, **({"tags": {**named.get("tags", {}), **tags}} if tags else {})}


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) of every line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for line, text in enumerate(stream, start=1):
                if not text.strip():
                    continue
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise DataError([Problem("is no JSON object", file=str(path), line=line)])
                yield line, row
    except json.JSONDecodeError as error:
        raise DataError([Problem(f"is no JSON: {error.msg}", file=str(path), line=line)]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([Problem(f"cannot be read: {error}", file=str(path))]) from None


def _delimited(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) of every record; cells are texts, empty ones left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter=DELIMITERS[path.suffix.lower()], strict=True)
            for row in reader:
                if None in row or None in row.values():
                    message = "has another number of cells than the header"
                    raise DataError([Problem(message, file=str(path), line=reader.line_num)])
                yield reader.line_num, {column: cell for column, cell in row.items() if cell}
    except csv.Error as error:
        raise DataError([Problem(f"is no CSV: {error}", file=str(path), line=reader.line_num)]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([Problem(f"cannot be read: {error}", file=str(path))]) from None
