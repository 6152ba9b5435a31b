"""From engine events to OpenAI's objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

from tunesmith.engine.engine import TokenEvent
from tunesmith.serve.api.chat_completions.protocol import (
    AnswerMessage,
    Choice,
    ChoiceLogprobs,
    TokenInfo,
    TopToken,
    Usage,
)
from tunesmith.serve.service import PromptRenderer

__all__ = ["choice", "logprobs", "merged", "usage"]

# JSON has no -inf; OpenAI gives this for tokens that cannot be.
_LOWEST_LOGPROB = -9999.0


def choice(index: int, events: Sequence[TokenEvent], renderer: PromptRenderer, *, with_logprobs: bool) -> Choice:
    """A whole answer."""
    return Choice(
        index=index,
        message=AnswerMessage(content="".join(event.text for event in events)),
        finish_reason=events[-1].finish_reason or "stop",
        logprobs=logprobs(events, renderer) if with_logprobs else None,
    )


def logprobs(events: Sequence[TokenEvent], renderer: PromptRenderer) -> ChoiceLogprobs:
    """Log-probabilities of the tokens, the end-of-turn token left out as it is not part of the answer."""
    infos = []
    for event in events:
        if event.token_id in renderer.stop_ids:
            continue
        top = tuple(_token(renderer, other.token_id, other.logprob) for other in event.top)
        chosen = _token(renderer, event.token_id, event.logprob)
        infos.append(TokenInfo(**dict(chosen), top_logprobs=top))
    return ChoiceLogprobs(content=tuple(infos))


def usage(prompt_tokens: int, completion_tokens: int) -> Usage:
    """Token counts."""
    total = prompt_tokens + completion_tokens
    return Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, total_tokens=total)


async def merged(streams: Sequence[AsyncIterator[TokenEvent]]) -> AsyncGenerator[tuple[int, TokenEvent], None]:
    """Events of several streams as they come, each with its stream's index. Closing it closes all streams."""
    queue: asyncio.Queue[tuple[int, TokenEvent | Exception | None]] = asyncio.Queue()

    async def pump(index: int, stream: AsyncIterator[TokenEvent]) -> None:
        end: Exception | None = None
        try:
            async with aclosing(cast(Any, stream)) as events:
                async for event in events:
                    queue.put_nowait((index, event))
        except Exception as error:  # noqa: BLE001 (raised again below, in the reader's task)
            end = error
        queue.put_nowait((index, end))

    tasks = [asyncio.create_task(pump(index, stream)) for index, stream in enumerate(streams)]
    try:
        running = len(tasks)
        while running:
            index, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield index, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _token(renderer: PromptRenderer, token_id: int, logprob: float) -> TopToken:
    text = renderer.decode((token_id,))
    known = None if "\ufffd" in text else tuple(text.encode())
    return TopToken(token=text, logprob=max(logprob, _LOWEST_LOGPROB), bytes=known)
