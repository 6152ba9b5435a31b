"""Rows of a run's data source: checked when the run is made, read again piece by piece when it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from tunesmith.errors import NotFound
from tunesmith.grade.placeholders import Unresolved, fill, value_of
from tunesmith.serve.api.evals.data_sources import (
    CompletionsSource,
    DataSource,
    FileContent,
    FileId,
    ResponsesSource,
    SourceRow,
    Template,
)
from tunesmith.serve.api.evals.item_schema import ItemSchema
from tunesmith.serve.api.evals.kept_rows import kept_rows
from tunesmith.serve.failures import ApiError, invalid
from tunesmith.serve.platform import Platform
from tunesmith.store.files import FileStore

__all__ = ["checked_rows", "input_of", "messages_of", "rows_of"]

_LONGEST_LINE = 4 << 20


def rows_of(source: DataSource, platform: Platform, project: str, picks: tuple[str, ...]) -> Iterator[SourceRow]:
    """The rows in order; `picks` are the stored answers that the run was made for.

    Raises ApiError 404 when the file is not there, 400 for a line that is no row.
    """
    if isinstance(source.source, FileContent):
        yield from source.source.content
    elif isinstance(source.source, FileId):
        yield from _lines(source.source, platform.files, project)
    else:
        yield from kept_rows(platform.database, project, source.source, picks)


def checked_rows(rows: Iterable[SourceRow], schema: ItemSchema, *, needs_sample: bool) -> int:
    """How many rows there are. Raises ApiError 400 that names the first row that does not fit the eval."""
    count = 0
    for row in rows:
        fault = schema.fault(row.item)
        if fault is None and needs_sample and row.sample is None:
            fault = "it has no sample, and a criterion reads {{sample.…}}"
        if fault is not None:
            raise invalid(f"Row {count} of the data source does not fit the eval: {fault}.", "data_source.source")
        count += 1
    if not count:
        raise invalid("The data source has no rows.", "data_source.source")
    return count


def messages_of(source: CompletionsSource, item: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages that the model is asked with for one row. Raises Unresolved for what the row does not have."""
    asked = source.input_messages
    if isinstance(asked, Template):
        return _filled(asked, item)
    assert asked is not None
    found = value_of(asked.item_reference, {}, item)
    if isinstance(found, str):
        found = _read(found)
    if not isinstance(found, list):
        raise Unresolved(f"{asked.item_reference} is no list of messages")
    return found


def input_of(source: ResponsesSource, item: dict[str, Any]) -> str | list[dict[str, Any]]:
    """The input of the response that is asked for: items, or a text. Raises Unresolved as `messages_of` does."""
    asked = source.input_messages
    if isinstance(asked, Template):
        return _filled(asked, item)
    assert asked is not None
    found = value_of(asked.item_reference, {}, item)
    if not isinstance(found, list | str):
        raise Unresolved(f"{asked.item_reference} is no text and no list of items")
    return found


def _filled(asked: Template, item: dict[str, Any]) -> list[dict[str, Any]]:
    messages = []
    for message in asked.template:
        parts = message.content if isinstance(message.content, list) else [message.content]
        texts = [part if isinstance(part, str) else part.text for part in parts]
        messages.append({"role": message.role, "content": "\n".join(fill(text, {}, item) for text in texts)})
    return messages


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _lines(source: FileId, files: FileStore, project: str) -> Iterator[SourceRow]:
    try:
        stream = files.open(files.get(project, source.id))
    except NotFound as error:
        raise ApiError(404, error.message, param="data_source.source.id", code="not_found") from None
    with stream:
        number = 0
        while line := stream.readline(_LONGEST_LINE + 1):
            number += 1
            if line.strip():
                yield _row(line, number)


def _row(line: bytes, number: int) -> SourceRow:
    if len(line) > _LONGEST_LINE:
        raise invalid(f"Line {number} of the file is longer than {_LONGEST_LINE >> 20} MB.", "data_source.source.id")
    try:
        return SourceRow.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        raise invalid(
            f'Line {number} of the file is no row: {reason}. A row is {{"item": {{…}}}} or {{"item": {{…}}, "sample": '
            '{"output_text": "…"}}.',
            "data_source.source.id",
        ) from None
