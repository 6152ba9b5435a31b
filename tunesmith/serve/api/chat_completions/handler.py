"""Answering a chat request, whole or streamed."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from tunesmith.engine.calls import TextDelta
from tunesmith.engine.engine import TokenEvent
from tunesmith.serve.answering.answering import Answers, answering, fingerprint, planned
from tunesmith.serve.answering.chunks import ChunkFrame, as_json
from tunesmith.serve.answering.events import data, guarded, started
from tunesmith.serve.answering.plan import Plan
from tunesmith.serve.api.chat_completions.answers import Reader, choice, delta, logprobs, usage
from tunesmith.serve.api.chat_completions.kept import Heard, keep
from tunesmith.serve.api.chat_completions.objects import (
    ChatCompletion,
    Choice,
    Chunk,
    ChunkChoice,
    ChunkDelta,
    ChunkWithUsage,
    Usage,
)
from tunesmith.serve.api.chat_completions.protocol import ChatRequest
from tunesmith.serve.service import Service

__all__ = ["complete", "stream"]


async def complete(service: Service, request: ChatRequest, project: str) -> ChatCompletion:
    """The whole answer, from a model that `project` sees."""
    found = await planned(service, request.as_ask(), project)
    events: list[list[TokenEvent]] = [[] for _ in found.samplings]
    async with answering(service, found) as answers:
        async for index, event in answers:
            events[index].append(event)
    shown = service.renderer if request.logprobs else None
    cached = min(one[-1].cached for one in events)
    answer = ChatCompletion(
        id=_new_id(),
        created=int(time.time()),
        model=request.model,
        choices=tuple(choice(index, one, _reader(request, found), shown) for index, one in enumerate(events)),
        usage=usage(len(found.prompt_ids), sum(len(one) for one in events), cached),
        system_fingerprint=fingerprint(found.served),
    )
    await keep(service, request, project, found, answer)
    return answer


async def stream(service: Service, request: ChatRequest, project: str) -> AsyncGenerator[str, None]:
    """Server-sent events of the answer of a model that `project` sees.

    What can be known before the first byte (unknown model, wrong parameters, too long) is raised here, not streamed.
    The adapter stays in use until the returned generator is closed.
    """
    found = await planned(service, request.as_ask(), project)
    async with AsyncExitStack() as opened:
        answers = await opened.enter_async_context(answering(service, found))
        kept = opened.pop_all()
    return await started(guarded(_events(service, request, project, found, answers), kept))


def _reader(request: ChatRequest, found: Plan) -> Reader:
    return Reader(found, legacy=request.legacy)


async def _events(
    service: Service, request: ChatRequest, project: str, found: Plan, answers: Answers
) -> AsyncGenerator[str, None]:
    writer = _ChunkWriter(request, found)
    readers = [_reader(request, found) for _ in found.samplings]
    heard = Heard(len(readers)) if request.store else None
    completion_tokens, cached = 0, []
    for index, reader in enumerate(readers):
        opening = ChunkDelta(role="assistant", content=None if reader.calls_may_come else "")
        yield writer.part(ChunkChoice(index=index, delta=opening))
    async for index, event in answers:
        completion_tokens += 1
        shown = logprobs([event], service.renderer) if request.logprobs else None
        pieces = readers[index].read(event)
        if heard is not None:
            heard.add(index, event, pieces)
        for piece in pieces:
            if shown is None and isinstance(piece, TextDelta):
                yield writer.text(index, piece.text)
            else:
                yield writer.part(ChunkChoice(index=index, delta=delta(piece, legacy=request.legacy), logprobs=shown))
            shown = None
        if shown and shown.content:
            yield writer.part(ChunkChoice(index=index, delta=ChunkDelta(), logprobs=shown))
        if event.finish_reason is not None:
            cached.append(event.cached)
            total = usage(len(found.prompt_ids), completion_tokens, min(cached))
            if heard is not None and len(cached) == len(readers):  # who has seen the end finds it kept
                renderer = service.renderer if request.logprobs else None
                await keep(service, request, project, found, writer.whole(heard.choices(readers, renderer), total))
            reason = readers[index].reason(event)
            yield writer.part(ChunkChoice(index=index, delta=ChunkDelta(), finish_reason=reason))
    if request.with_usage:
        yield writer.end(total)
    yield data("[DONE]")


class _ChunkWriter:
    """Chunks of one answer, which share id, time and model."""

    def __init__(self, request: ChatRequest, found: Plan) -> None:
        made = fingerprint(found.served)
        chunk = Chunk(id=_new_id(), created=int(time.time()), model=request.model, choices=(), system_fingerprint=made)
        self._chunk = chunk
        self._frame = ChunkFrame(ChunkWithUsage(**dict(chunk)) if request.with_usage else chunk)

    def part(self, part: ChunkChoice) -> str:
        """One event: a part of a choice."""
        shown = part.model_dump(mode="json")
        shown["delta"] = part.delta.model_dump(mode="json", exclude_none=True)
        if part.delta.role is not None:
            shown["delta"]["content"] = part.delta.content  # null while it may be calls only
        return self._frame.event(as_json(shown))

    def text(self, index: int, text: str) -> str:
        """The event of a piece of text, which most are: what `part` makes of it, without the detour."""
        shown = (
            f'{{"index": {index}, "delta": {{"content": {as_json(text)}}}, "finish_reason": null, "logprobs": null}}'
        )
        return self._frame.event(shown)

    def end(self, total: Usage) -> str:
        """The event with the usage, at the end."""
        return self._frame.end(total)

    def whole(self, choices: tuple[Choice, ...], total: Usage) -> ChatCompletion:
        """The answer as it would be in one piece."""
        shared = self._chunk.model_dump(include={"id", "created", "model", "system_fingerprint"})
        return ChatCompletion(**shared, choices=choices, usage=total)


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
