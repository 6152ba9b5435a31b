"""Builds a response, and the events of its stream in their order, from the pieces of an answer.

response.created, response.in_progress,
for a text:  output_item.added, content_part.added, output_text.delta…, output_text.done, content_part.done,
             output_item.done
for a call:  output_item.added, function_call_arguments.delta…, function_call_arguments.done, output_item.done
response.completed | response.incomplete | response.failed
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tunesmith.engine.calls import ArgumentsDelta, CallStart, Found, TextDelta
from tunesmith.serve.api.responses.items import new_id

__all__ = ["Builder", "Event"]

Event = dict[str, Any]


class Builder:
    """One response in the making; `response` is its object as it stands."""

    def __init__(self, response: dict[str, Any]) -> None:
        self.response = response
        self._sequence = 0
        self._item: dict[str, Any] | None = None

    def open(self) -> Iterator[Event]:
        """The first events."""
        yield self._event("response.created", response=self._snapshot())
        yield self._event("response.in_progress", response=self._snapshot())

    def add(self, piece: Found, logprobs: list[Any]) -> Iterator[Event]:
        """The events of a piece; `logprobs` belong to its text."""
        if isinstance(piece, TextDelta):
            if self._item is None or self._item["type"] != "message":
                yield from self._close_item("completed")
                yield from self._open_text()
            yield from self._text(piece.text, logprobs)
        elif isinstance(piece, CallStart):
            yield from self._close_item("completed")
            call = {"call_id": piece.id, "name": piece.name, "arguments": ""}
            yield self._open_item({"id": new_id("fc"), "type": "function_call", "status": "in_progress", **call})
        else:
            yield from self._arguments(piece)

    def close(self, usage: dict[str, Any], *, cut: bool) -> Iterator[Event]:
        """The last events; `cut` when the answer reached its length."""
        status = "incomplete" if cut else "completed"
        if not self.response["output"] and self._item is None:
            yield from self._open_text()
        yield from self._close_item(status)
        ended = {"status": status, "usage": usage, "completed_at": None if cut else int(time.time())}
        self.response |= ended | ({"incomplete_details": {"reason": "max_output_tokens"}} if cut else {})
        yield self._event(f"response.{status}", response=self._snapshot())

    def fail(self, code: str, message: str) -> Event:
        """The last event of a response that broke."""
        self.response |= {"status": "failed", "error": {"code": code, "message": message}}
        return self._event("response.failed", response=self._snapshot())

    def _open_text(self) -> Iterator[Event]:
        spoken = {"type": "message", "status": "in_progress", "role": "assistant"}
        item: dict[str, Any] = {"id": new_id("msg"), **spoken, "content": []}
        yield self._open_item(item)
        part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        item["content"] = [part]
        yield self._of_item("response.content_part.added", content_index=0, part=dict(part))

    def _text(self, text: str, logprobs: list[Any]) -> Iterator[Event]:
        assert self._item is not None
        part = self._item["content"][0]
        part["text"] += text
        part["logprobs"] = part["logprobs"] + logprobs
        yield self._of_item("response.output_text.delta", content_index=0, delta=text, logprobs=logprobs)

    def _arguments(self, piece: ArgumentsDelta) -> Iterator[Event]:
        assert self._item is not None
        self._item["arguments"] += piece.text
        yield self._of_item("response.function_call_arguments.delta", delta=piece.text)

    def _open_item(self, item: dict[str, Any]) -> Event:
        self._item = item
        place = len(self.response["output"])
        return self._event("response.output_item.added", output_index=place, item=_copy(item))

    def _close_item(self, status: str) -> Iterator[Event]:
        item = self._item
        if item is None:
            return
        item["status"] = status
        if item["type"] == "message":
            part = item["content"][0]
            said = {"text": part["text"], "logprobs": part["logprobs"]}
            yield self._of_item("response.output_text.done", content_index=0, **said)
            yield self._of_item("response.content_part.done", content_index=0, part=dict(part))
        else:
            called = {"name": item["name"], "arguments": item["arguments"]}
            yield self._of_item("response.function_call_arguments.done", **called)
        place = len(self.response["output"])
        yield self._event("response.output_item.done", output_index=place, item=_copy(item))
        self.response["output"] = [*self.response["output"], item]
        self._item = None

    def _of_item(self, kind: str, **fields: Any) -> Event:
        assert self._item is not None
        place = len(self.response["output"])
        return self._event(kind, item_id=self._item["id"], output_index=place, **fields)

    def _event(self, kind: str, **fields: Any) -> Event:
        self._sequence += 1
        return {"type": kind, "sequence_number": self._sequence - 1, **fields}

    def _snapshot(self) -> dict[str, Any]:
        return {**self.response, "output": list(self.response["output"])}


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "content": [dict(part) for part in item["content"]]} if "content" in item else dict(item)
