"""A whole table inside one JSON object: by columns, by index, as named lists of rows, as SQuAD nests it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunesmith.prepare.table import Row

__all__ = ["PART", "rows_in_object"]

PART = "part"
"""The field that says in which of several named lists a row stood."""
_LISTS = frozenset(
    ["data", "rows", "examples", "items", "records", "train", "training", "val", "valid", "validation", "dev", "test"]
)
_ABOUT = frozenset(["version", "name", "title", "description", "license", "licence", "url", "source", "info", "date"])


def rows_in_object(fields: Mapping[str, Any], line: int) -> Iterator[Row] | None:
    """The rows of the table that `fields` is, or None when it is one row itself.

    `{"a": {"0": 1}, "b": {"0": 2}}` (columns as pandas writes them), `{"0": {"a": 1, "b": 2}}` (the same by index) and
    `{"a": [1], "b": [2]}` (lists of columns) all hold one row with `a` and `b`. `{"train": [ROW, ...], "test": [...]}`
    holds rows with a field `part`; a ROW that is a list of cells has the fields `column_1`, `column_2`, ... SQuAD's
    `{"data": [{"paragraphs": [{"context": ..., "qas": [...]}]}]}` gives one row for each question.
    """
    parts = list(fields.values())
    if not parts:
        return None
    if all(isinstance(part, dict) for part in parts):
        return _by_columns_or_index(fields, line)
    if _is_squad(fields):
        return _squad_rows(fields["data"], line)
    if all(isinstance(part, list) and part for part in parts):
        if len({len(part) for part in parts}) == 1 and all(map(_is_column, parts)):
            return _columns(fields, line)
        if all(map(_is_cells, parts)):
            return _named_lists(fields, line)
    lists = {key: part for key, part in fields.items() if key in _LISTS and _is_objects(part)}
    about = all(key in _ABOUT for key in fields if key not in lists)
    return _named_lists(lists, line) if lists and about else None


def _by_columns_or_index(fields: Mapping[str, Any], line: int) -> Iterator[Row] | None:
    parts = list(fields.values())
    if all(key.isdigit() for part in parts for key in part) and all(parts):
        keys = list(dict.fromkeys(key for part in parts for key in part))
        given = ((key, {name: part[key] for name, part in fields.items() if key in part}) for key in keys)
        return (Row(line, row, f'["{key}"]') for key, row in given)
    if all(key.isdigit() for key in fields):
        return (Row(line, part, f'["{key}"]') for key, part in fields.items())
    return None


def _is_column(cells: Sequence[Any]) -> bool:
    """Whether cells of one kind: plain values, or lists of objects (messages)."""
    plain = not any(isinstance(cell, list | dict) for cell in cells)
    return plain or all(isinstance(cell, list) and _is_objects(cell) for cell in cells)


def _is_cells(rows: Sequence[Any]) -> bool:
    """Whether rows that are lists of plain cells, all of the same width."""
    width = len(rows[0]) if isinstance(rows[0], list) else 0
    return width > 1 and all(isinstance(row, list) and len(row) == width and _is_column(row) for row in rows)


def _is_objects(rows: Any) -> bool:
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)


def _columns(fields: Mapping[str, Any], line: int) -> Iterator[Row]:
    for index, cells in enumerate(zip(*fields.values(), strict=True)):
        yield Row(line, dict(zip(fields, cells, strict=True)), f"[{index}]")


def _named_lists(fields: Mapping[str, Any], line: int) -> Iterator[Row]:
    for name, rows in fields.items():
        for index, row in enumerate(rows):
            named = row if isinstance(row, dict) else {f"column_{number}": cell for number, cell in enumerate(row, 1)}
            yield Row(line, {PART: name, **named}, f"{name}[{index}]")


def _is_squad(fields: Mapping[str, Any]) -> bool:
    data = fields.get("data")
    return _is_objects(data) and all(_is_objects(article.get("paragraphs")) for article in data or ())


def _squad_rows(articles: Sequence[Mapping[str, Any]], line: int) -> Iterator[Row]:
    for number, article in enumerate(articles):
        for index, paragraph in enumerate(article["paragraphs"]):
            shared = {"domain": article.get("title"), "context": paragraph.get("context")}
            shared = {key: value for key, value in shared.items() if value is not None}
            questions = paragraph.get("qas")
            for place, question in enumerate(questions if isinstance(questions, list) else ()):
                inside = f"data[{number}].paragraphs[{index}].qas[{place}]"
                given = question if isinstance(question, dict) else {"question": question}
                yield Row(line, {**shared, **given}, inside)
