"""structured: rows of the training format `structured`, asked as training shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError, field_validator

from tunesmith.errors import DataError, Problem
from tunesmith.evaluate.task_files import json_rows
from tunesmith.types.base import Value, digest_json
from tunesmith.types.conversation import Message
from tunesmith.types.suite import Item

__all__ = ["Structured"]


class _Document(Value):
    """A document and the id that it is cited by."""

    id: str
    text: str

    @field_validator("id", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


class _Input(Value):
    """What is asked."""

    user: str
    system: str | None = None
    context: tuple[_Document, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt exactly as `prepare/formats/structured.py` writes it."""
        shown = "\n".join(f"[{document.id}] {document.text}" for document in self.context)
        asked = Message(role="user", content=f"{shown}\n\n{self.user}" if shown else self.user)
        return ((Message(role="system", content=self.system),) if self.system else ()) + (asked,)


class _Row(Value, extra="allow"):
    """One row: a question about documents and the object that answers it; its other keys are the item's slices."""

    input: _Input
    output: dict[str, JsonValue]

    @property
    def tags(self) -> dict[str, str]:
        """The keys beside input and output whose values are no lists or objects."""
        extra = self.model_extra or {}
        return {name: str(value) for name, value in extra.items() if isinstance(value, str | int | float)}


class Structured(Value):
    """Items of the type grounded_qa from `input {system, context [{id, text}], user}` and `output {...}`.

    Expected are the `output` as JSON, its citations, and `json_schema` where it is given. `status` names the field that
    says whether an answer was given; its values in `refusals` mean that none was. It is a slice too, as are the row's
    other keys.
    """

    json_schema: dict[str, JsonValue] | None = None
    status: str = "status"
    refusals: tuple[str, ...] = ()

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """One item per row. Raises DataError with file, line and field."""
        for line, row in islice(json_rows(path), limit or None):
            yield self._item(_row(row, path, line))

    def _item(self, row: _Row) -> Item:
        status = row.output.get(self.status)
        expect: dict[str, JsonValue | None] = {
            "json": row.output,
            "schema": self.json_schema,
            "contexts": [document.model_dump() for document in row.input.context],
            "citations": row.output.get("citations"),
            "refusal": ("refuse" if status in self.refusals else "comply") if self.refusals else None,
        }
        item = Item(
            id="",
            type="grounded_qa",
            messages=row.input.messages,
            reference=json.dumps(row.output, ensure_ascii=False),
            expect={name: value for name, value in expect.items() if value is not None},
            tags={**row.tags, **({"status": status} if isinstance(status, str) else {})},
        )
        return item.model_copy(update={"id": digest_json(item.model_dump(mode="json"))[:16]})


def _row(given: dict[str, Any], path: Path, line: int) -> _Row:
    try:
        return _Row.model_validate(given)
    except ValidationError as error:
        fix = 'write {"input": {"context": [{"id": ..., "text": ...}], "user": ...}, "output": {...}}'
        problems = [
            Problem(str(detail["msg"]), file=str(path), line=line, field=".".join(map(str, detail["loc"])), fix=fix)
            for detail in error.errors()
        ]
        raise DataError(problems, message=f"{path} has a row that is not structured:") from None
