"""Answering a chat request, whole or streamed."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from tunesmith.engine.engine import TokenEvent
from tunesmith.errors import TunesmithError
from tunesmith.serve.api.chat_completions.answers import choice, logprobs, merged, usage
from tunesmith.serve.api.chat_completions.prompt import Plan, plan
from tunesmith.serve.api.chat_completions.protocol import (
    ChatCompletion,
    ChatRequest,
    Chunk,
    ChunkChoice,
    ChunkDelta,
    ChunkWithUsage,
    Usage,
)
from tunesmith.serve.failures import ApiError, as_api_error
from tunesmith.serve.service import Service

__all__ = ["complete", "stream"]

_log = logging.getLogger(__name__)


async def complete(service: Service, request: ChatRequest, project: str) -> ChatCompletion:
    """The whole answer, from a model that `project` sees."""
    found = await _plan(service, request, project)
    events: list[list[TokenEvent]] = [[] for _ in found.samplings]
    async with service.shelf.use(found.served.release) as adapter:
        streams = [service.engine.submit(one) for one in found.requests(adapter)]
        async with aclosing(merged(streams)) as answers:
            async for index, event in answers:
                events[index].append(event)
    with_logprobs = bool(request.logprobs)
    return ChatCompletion(
        id=_new_id(),
        created=int(time.time()),
        model=request.model,
        choices=tuple(
            choice(index, one, service.renderer, with_logprobs=with_logprobs) for index, one in enumerate(events)
        ),
        usage=usage(len(found.prompt_ids), sum(len(one) for one in events)),
        system_fingerprint=_fingerprint(found),
    )


async def stream(service: Service, request: ChatRequest, project: str) -> AsyncGenerator[str, None]:
    """Server-sent events of the answer of a model that `project` sees.

    What can be known before the first byte (unknown model, wrong parameters, too long) is raised here, not streamed.
    The adapter stays in use until the returned generator is closed.
    """
    found = await _plan(service, request, project)
    async with AsyncExitStack() as started:
        adapter = await started.enter_async_context(service.shelf.use(found.served.release))
        streams = [service.engine.submit(one) for one in found.requests(adapter)]
        answers = await started.enter_async_context(aclosing(merged(streams)))
        kept = started.pop_all()
    events = _events(service, request, found, answers, kept)
    # Runs up to its first yield, so that closing the generator always releases what was started.
    await anext(events)
    return events


async def _plan(service: Service, request: ChatRequest, project: str) -> Plan:
    """In a thread, so that neither the database nor a long prompt holds up the event loop."""
    return await asyncio.to_thread(lambda: plan(service, service.catalogue.find(request.model, project), request))


async def _events(
    service: Service,
    request: ChatRequest,
    found: Plan,
    answers: AsyncGenerator[tuple[int, TokenEvent], None],
    started: AsyncExitStack,
) -> AsyncGenerator[str, None]:
    writer = _ChunkWriter(request, found)
    completion_tokens = 0
    async with started:
        yield ""
        try:
            for index in range(len(found.samplings)):
                yield writer.chunk(ChunkChoice(index=index, delta=ChunkDelta(role="assistant", content="")))
            async for index, event in answers:
                completion_tokens += 1
                shown = logprobs([event], service.renderer) if request.logprobs else None
                if event.text or (shown and shown.content):
                    yield writer.chunk(ChunkChoice(index=index, delta=ChunkDelta(content=event.text), logprobs=shown))
                if event.finish_reason is not None:
                    yield writer.chunk(ChunkChoice(index=index, delta=ChunkDelta(), finish_reason=event.finish_reason))
        except TunesmithError as error:
            yield _data(json.dumps(as_api_error(error).body()))
            return
        except Exception as error:  # noqa: BLE001 - logged, and told to the client, who has no status code any more
            _log.exception("a streamed answer broke")
            body = ApiError(500, f"Internal error: {type(error).__name__}.", kind="server_error").body()
            yield _data(json.dumps(body))
            return
        if writer.with_usage:
            yield writer.chunk(None, usage(len(found.prompt_ids), completion_tokens))
        yield _data("[DONE]")


class _ChunkWriter:
    """Chunks of one answer, which share id, time and model."""

    def __init__(self, request: ChatRequest, found: Plan) -> None:
        self.with_usage = bool(request.stream_options and request.stream_options.include_usage)
        self._id = _new_id()
        self._created = int(time.time())
        self._model = request.model
        self._fingerprint = _fingerprint(found)

    def chunk(self, part: ChunkChoice | None, total: Usage | None = None) -> str:
        """One event: a part of a choice, or (None) the usage at the end."""
        choices = () if part is None else (part,)
        names = {"id": self._id, "created": self._created, "model": self._model, "choices": choices}
        body = Chunk.model_validate(names | {"system_fingerprint": self._fingerprint})
        if self.with_usage:
            body = ChunkWithUsage(**dict(body), usage=total)
        plain = body.model_dump(mode="json")
        for one in plain["choices"]:
            one["delta"] = {name: value for name, value in one["delta"].items() if value is not None}
        return _data(json.dumps(plain, ensure_ascii=False))


def _data(text: str) -> str:
    return f"data: {text}\n\n"


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def _fingerprint(found: Plan) -> str | None:
    """Changes when what answers under the same name changes."""
    release = found.served.release
    return f"fp_{release.identity()[:12]}" if release else None
