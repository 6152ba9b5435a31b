"""Rows of a run's data source: checked when the run is made, read again piece by piece when it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from tunesmith.errors import NotFound
from tunesmith.grade.placeholders import Unresolved, fill
from tunesmith.serve.api.evals.item_schema import ItemSchema
from tunesmith.serve.api.evals.protocol import CompletionsSource, DataSource, FileContent, SourceRow
from tunesmith.serve.failures import ApiError, invalid
from tunesmith.store.files import FileStore

__all__ = ["checked_rows", "messages_of", "rows_of"]

_LONGEST_LINE = 4 << 20


def rows_of(source: DataSource, files: FileStore, project: str) -> Iterator[SourceRow]:
    """The rows in order. Raises ApiError 404 when the file is not there, 400 for a line that is no row."""
    if isinstance(source.source, FileContent):
        yield from source.source.content
        return
    try:
        stream = files.open(files.get(project, source.source.id))
    except NotFound as error:
        raise ApiError(404, error.message, param="data_source.source.id", code="not_found") from None
    with stream:
        number = 0
        while line := stream.readline(_LONGEST_LINE + 1):
            number += 1
            if line.strip():
                yield _row(line, number)


def checked_rows(source: DataSource, files: FileStore, project: str, schema: ItemSchema, needs_sample: bool) -> int:
    """How many rows there are. Raises ApiError 400 that names the first row that does not fit the eval."""
    count = 0
    for row in rows_of(source, files, project):
        fault = schema.fault(row.item)
        if fault is None and needs_sample and row.sample is None and not isinstance(source, CompletionsSource):
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
    if asked.type == "item_reference":
        return _list_in(fill(f"{{{{{asked.item_reference}}}}}", {}, item), asked.item_reference)
    messages = []
    for message in asked.template:
        parts = message.content if isinstance(message.content, list) else [message.content]
        texts = [part if isinstance(part, str) else part.text for part in parts]
        messages.append({"role": message.role, "content": "\n".join(fill(text, {}, item) for text in texts)})
    return messages


def _list_in(text: str, reference: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise Unresolved(f"{reference} is no list of messages")
    return found


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
