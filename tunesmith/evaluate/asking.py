"""Asking a contestant every row through the engine that serves, many requests at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from tunesmith.engine.engine import Engine, GenerationRequest, Sampling
from tunesmith.errors import EvaluationError, TunesmithError
from tunesmith.types.conversation import Message
from tunesmith.types.dataset import Example

__all__ = ["Answer", "PromptRenderer", "ask", "in_parallel", "prompt_messages"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class PromptRenderer(Protocol):
    """The part of `tunesmith.models.template.Renderer` that evaluation needs."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> tuple[int, ...]:
        """Ids of a prompt, up to where the answer begins."""

    def answer_ids(self, text: str) -> tuple[int, ...]:
        """Ids of an answer with its end-of-turn token."""


class Answer(NamedTuple):
    """One generated answer. Times are seconds since submission; `tokens` counts the end-of-turn token, and `logprobs`
    holds the log-probability of each of them.
    """

    text: str
    tokens: int
    seconds: float
    first_token_seconds: float
    finish_reason: str
    prompt_tokens: int
    logprobs: tuple[float, ...]


def prompt_messages(example: Example, system_prompt: bool) -> tuple[Message, ...]:
    """What a server would receive for this row; system and developer messages only when `system_prompt` is True."""
    left_out = ("system", "developer") if not system_prompt else ()
    return tuple(message for message in example.conversation.prompt if message.role not in left_out)


async def ask(engine: Engine, prompt_ids: tuple[int, ...], adapter: str | None, max_new_tokens: int) -> Answer:
    """One greedy answer, timed as a client would time it."""
    request = GenerationRequest(prompt_ids=prompt_ids, adapter=adapter, sampling=Sampling(max_tokens=max_new_tokens))
    texts: list[str] = []
    logprobs: list[float] = []
    first = finish = None
    started = time.perf_counter()
    async for event in engine.submit(request):
        first = time.perf_counter() - started if first is None else first
        texts.append(event.text)
        logprobs.append(event.logprob)
        finish = event.finish_reason or finish
    if first is None or finish is None:
        raise EvaluationError("The engine ended an answer without saying why it stopped.")
    return Answer(
        "".join(texts).strip(),
        len(texts),
        time.perf_counter() - started,
        first,
        finish,
        len(prompt_ids),
        tuple(logprobs),
    )


async def in_parallel(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], limit: int, done: Callable[[], None]
) -> list[Result]:
    """Results of `work` on each item, in order, at most `limit` at a time; the first error ends all and is raised."""
    gate = asyncio.Semaphore(limit)

    async def one(item: Item) -> Result:
        async with gate:
            result = await work(item)
        done()
        return result

    tasks: list[asyncio.Task[Result]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except* TunesmithError as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
