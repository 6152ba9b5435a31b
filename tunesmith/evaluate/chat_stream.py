"""The pieces of a streamed chat completion, put together as they come."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

from tunesmith.evaluate.backoff import Passing
from tunesmith.evaluate.subject import Reply

__all__ = ["read_reply"]


async def read_reply(lines: AsyncIterator[str], started: float) -> Reply:
    """The answer in the lines of a server-sent event stream; `started` is `time.perf_counter()` at the request.

    Tokens are those that the server counts in its `usage`; a server that counts none leaves the number of
    log-probabilities, else the number of pieces.

    Raises Passing when the stream reports an error or ends before the answer does.
    """
    answer = _Answer(started)
    async for line in lines:
        if not line.startswith("data:"):
            continue  # a comment that keeps the connection alive, or a blank line
        data = line[5:].strip()
        if data == "[DONE]":
            break
        try:
            answer.add(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Passing(f"the server's stream is no chat completion: {error!r}") from None
    return answer.reply()


class _Answer:
    """What has come so far."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.first: float | None = None
        self.texts: list[str] = []
        self.logprobs: list[float] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.usage: dict[str, Any] = {}
        self.finish = ""
        self.pieces = 0

    def add(self, event: dict[str, Any]) -> None:
        """One event of the stream."""
        if event.get("error"):
            raise Passing(f"the server broke off: {event['error'].get('message', event['error'])}")
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            text, calls = delta.get("content"), delta.get("tool_calls") or ()
            if (text or calls) and self.first is None:
                self.first = time.perf_counter() - self.started
            if text:
                self.texts.append(text)
                self.pieces += 1
            for call in calls:
                self._add_call(call)
            self.logprobs += [token["logprob"] for token in (choice.get("logprobs") or {}).get("content") or ()]
            self.finish = choice.get("finish_reason") or self.finish

    def _add_call(self, piece: dict[str, Any]) -> None:
        call = self.calls.setdefault(piece.get("index", 0), {"name": "", "arguments": ""})
        function = piece.get("function") or {}
        call["name"] += function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""

    def reply(self) -> Reply:
        """The whole answer."""
        seconds = time.perf_counter() - self.started
        if not self.finish:
            raise Passing("the server's stream ended before the answer did")
        tokens = self.usage.get("completion_tokens")
        return Reply(
            text="".join(self.texts),
            tokens=len(self.logprobs) or self.pieces if tokens is None else tokens,
            prompt_tokens=self.usage.get("prompt_tokens") or 0,
            seconds=seconds,
            first_token_seconds=seconds if self.first is None else self.first,
            finish_reason=self.finish,
            calls=tuple(self.calls[index] for index in sorted(self.calls)),
            logprobs=tuple(self.logprobs),
        )
