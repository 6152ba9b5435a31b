"""Continuing texts, whole or streamed."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing

from tunesmith.engine.engine import TokenEvent
from tunesmith.serve.answering.answering import Answers, fingerprint, merged
from tunesmith.serve.answering.chunks import ChunkFrame, as_json
from tunesmith.serve.answering.events import data, guarded, started
from tunesmith.serve.api.chat_completions.answers import usage
from tunesmith.serve.api.chat_completions.objects import Usage
from tunesmith.serve.api.completions.prompts import Prompts, logprobs_of, prompt_logprobs, prompts_of
from tunesmith.serve.api.completions.protocol import (
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionChunkWithUsage,
    CompletionLogprobs,
    CompletionRequest,
)
from tunesmith.serve.service import Service

__all__ = ["complete", "stream"]


async def complete(service: Service, request: CompletionRequest, project: str) -> Completion:
    """The whole answer, from a model that `project` sees."""
    found = await prompts_of(service, request, project)
    async with service.shelf.use(found.served.release) as adapter:
        before = await _before(service, request, found, adapter)
        requests = found.requests(adapter)
        events: list[list[TokenEvent]] = [[] for _ in requests]
        async with aclosing(merged([service.engine.submit(one) for one in requests])) as answers:
            async for index, event in answers:
                events[index].append(event)
    choices: list[CompletionChoice] = []
    for place in range(len(found.prompts)):
        for one in _best(events, found, place, request.n or 1):
            choices.append(_choice(service, request, found, len(choices), one, before[place]))
    return Completion(
        id=f"cmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=request.model,
        choices=tuple(choices),
        usage=_usage(found, events),
        system_fingerprint=fingerprint(found.served),
    )


async def stream(service: Service, request: CompletionRequest, project: str) -> AsyncGenerator[str, None]:
    """Server-sent events of the answer. What can be known before the first byte is raised here."""
    found = await prompts_of(service, request, project)
    async with AsyncExitStack() as opened:
        adapter = await opened.enter_async_context(service.shelf.use(found.served.release))
        before = await _before(service, request, found, adapter)
        streams = [service.engine.submit(one) for one in found.requests(adapter)]
        answers = await opened.enter_async_context(aclosing(merged(streams)))
        kept = opened.pop_all()
    return await started(guarded(_events(service, request, found, before, answers), kept))


async def _before(
    service: Service, request: CompletionRequest, found: Prompts, adapter: str | None
) -> list[CompletionLogprobs | None]:
    """Log-probabilities of each prompt where they are echoed."""
    if not request.echo or request.logprobs is None:
        return [None] * len(found.prompts)
    scored = (prompt_logprobs(service, prompt, adapter, request.logprobs) for prompt in found.prompts)
    return list(await asyncio.gather(*scored))


def _best(events: Sequence[list[TokenEvent]], found: Prompts, place: int, count: int) -> list[list[TokenEvent]]:
    """The `count` answers to prompt `place` with the highest log-probability per token, the likeliest first."""
    if not found.samplings:
        return [[] for _ in range(count)]
    own = list(events[place * len(found.samplings) : (place + 1) * len(found.samplings)])
    if len(own) > count:
        own.sort(key=lambda one: -sum(event.logprob for event in one) / len(one))
    return own[:count]


def _choice(
    service: Service,
    request: CompletionRequest,
    found: Prompts,
    index: int,
    events: Sequence[TokenEvent],
    before: CompletionLogprobs | None,
) -> CompletionChoice:
    prompt = found.prompts[index // (request.n or 1)]
    shown = None
    if request.logprobs is not None:
        shown = logprobs_of(events, service.renderer, len(prompt.text), with_top=request.logprobs > 0)
        shown = _joined(before, shown) if before is not None else shown
    return CompletionChoice(
        index=index,
        text=(prompt.text if request.echo else "") + "".join(event.text for event in events),
        finish_reason=(events[-1].finish_reason if events else None) or "length",
        logprobs=shown,
    )


def _joined(one: CompletionLogprobs, other: CompletionLogprobs) -> CompletionLogprobs:
    return CompletionLogprobs(
        tokens=one.tokens + other.tokens,
        token_logprobs=one.token_logprobs + other.token_logprobs,
        top_logprobs=None if one.top_logprobs is None else one.top_logprobs + (other.top_logprobs or ()),
        text_offset=one.text_offset + other.text_offset,
    )


def _usage(found: Prompts, events: Sequence[Sequence[TokenEvent]]) -> Usage:
    prompt_tokens = sum(len(prompt.ids) for prompt in found.prompts)
    step = len(found.samplings) or 1
    cached = sum(one[-1].cached for one in events[::step])
    return usage(prompt_tokens, sum(len(one) for one in events), cached)


async def _events(
    service: Service,
    request: CompletionRequest,
    found: Prompts,
    before: list[CompletionLogprobs | None],
    answers: Answers,
) -> AsyncGenerator[str, None]:
    writer = _Writer(request, found)
    n = request.n or 1
    seen: list[list[TokenEvent]] = [[] for _ in range(len(found.prompts) * len(found.samplings))]
    if request.echo or not request.length:
        for index in range(len(found.prompts) * n):
            text = found.prompts[index // n].text if request.echo else ""
            yield writer.part(
                CompletionChoice(
                    index=index,
                    text=text,
                    finish_reason=None if request.length else "length",
                    logprobs=before[index // n],
                )
            )
    offsets = [len(found.prompts[index // n].text) for index in range(len(found.prompts) * n)]
    async for index, event in answers:
        seen[index].append(event)
        shown = None
        if request.logprobs is not None:
            shown = logprobs_of([event], service.renderer, offsets[index], with_top=request.logprobs > 0)
            offsets[index] += sum(len(token) for token in shown.tokens)
        if event.text or (shown and shown.tokens):
            yield writer.part(CompletionChoice(index=index, text=event.text, finish_reason=None, logprobs=shown))
        if event.finish_reason is not None:
            end = CompletionChoice(index=index, text="", finish_reason=event.finish_reason, logprobs=None)
            yield writer.part(end)
    if request.with_usage:
        yield writer.end(_usage(found, seen))
    yield data("[DONE]")


class _Writer:
    """Chunks of one answer, which share id, time and model."""

    def __init__(self, request: CompletionRequest, found: Prompts) -> None:
        chunk = CompletionChunk(
            id=f"cmpl-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=request.model,
            choices=(),
            system_fingerprint=fingerprint(found.served),
        )
        self._frame = ChunkFrame(CompletionChunkWithUsage(**dict(chunk)) if request.with_usage else chunk)

    def part(self, part: CompletionChoice) -> str:
        """One event: a part of a choice."""
        return self._frame.event(as_json(part.model_dump(mode="json")))

    def end(self, total: Usage) -> str:
        """The event with the usage, at the end."""
        return self._frame.end(total)
