"""Runs a plan: the events of all choices as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

from tunesmith.engine.engine import GenerationRequest, TokenEvent
from tunesmith.errors import RequestRefused
from tunesmith.serve.answering.ask import Ask
from tunesmith.serve.answering.plan import Plan, plan
from tunesmith.serve.catalogue import BASE_ID, Served
from tunesmith.serve.service import Service

__all__ = ["Answers", "answering", "fingerprint", "merged", "planned"]

_SHORT = 2_000  # characters of a prompt that is tokenised within a millisecond or so

Answers = AsyncGenerator[tuple[int, TokenEvent], None]
"""Events of several choices, each with the index of its choice."""


async def planned(service: Service, ask: Ask, project: str) -> Plan:
    """The plan of `ask` for a model that `project` sees.

    Where the database is asked or the prompt is long it is made in a thread, so that the event loop is not held up; a
    short question to the base takes less time than the way there.
    """
    if ask.model == BASE_ID and not ask.tools and sum(len(one.content or "") for one in ask.messages) <= _SHORT:
        return plan(service, service.catalogue.find(ask.model, project), ask)
    return await asyncio.to_thread(lambda: plan(service, service.catalogue.find(ask.model, project), ask))


@asynccontextmanager
async def answering(service: Service, found: Plan) -> AsyncGenerator[Answers, None]:
    """The events of the plan's choices; the adapter stays in use inside the block, and leaving it ends the generation.

    Raises ApiError 400 when the engine does not do what is asked.
    """
    async with service.shelf.use(found.served.release) as adapter:
        try:
            streams = await _submitted(service, found, adapter)
        except RequestRefused as error:
            raise found.refusal(error) from error
        async with aclosing(merged(streams)) as answers:
            yield answers


def fingerprint(served: Served) -> str | None:
    """Changes when what answers under the same name changes."""
    return f"fp_{served.release.identity()[:12]}" if served.release else None


async def merged(streams: Sequence[AsyncIterator[TokenEvent]]) -> Answers:
    """Events of several streams as they come, each with its stream's index. Closing it closes all streams."""
    if len(streams) == 1:
        async with aclosing(cast(Any, streams[0])) as events:
            async for event in events:
                yield 0, event
        return
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


async def _submitted(service: Service, found: Plan, adapter: str | None) -> list[AsyncIterator[TokenEvent]]:
    *first, last = found.constraints
    for constraint in first:
        try:
            return await _submit(service, found.requests(adapter, constraint))
        except RequestRefused as error:
            if error.field != "constraint":
                raise
    return await _submit(service, found.requests(adapter, last))


async def _submit(service: Service, requests: Sequence[GenerationRequest]) -> list[AsyncIterator[TokenEvent]]:
    """In a thread where there is a constraint, which takes time to compile."""
    if requests[0].sampling.constraint is None:
        return [service.engine.submit(one) for one in requests]
    return await asyncio.to_thread(lambda: [service.engine.submit(one) for one in requests])
