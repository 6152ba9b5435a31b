"""What a check of an engine works with: the engine, prompts, adapters, and whole answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.engine.detokenise import Codec
from tunesmith.engine.engine import Engine, GenerationRequest, Sampling, TokenEvent
from tunesmith.errors import EngineError

__all__ = ["Answer", "Check", "Subject", "answer", "refused", "run_check"]


class Subject(NamedTuple):
    """An engine under test with what it can be asked: at least three prompts, and adapter folders by digest."""

    engine: Engine
    codec: Codec
    prompts: Sequence[tuple[int, ...]]
    adapters: Mapping[str, Path]


Check = Callable[[Subject], Awaitable[None]]


class Answer(NamedTuple):
    """A whole answer."""

    text: str
    token_ids: tuple[int, ...]
    events: tuple[TokenEvent, ...]

    @property
    def reason(self) -> str | None:
        """Why it ended."""
        return self.events[-1].finish_reason


async def answer(subject: Subject, prompt: tuple[int, ...], *, adapter: str | None = None, **sampling: Any) -> Answer:
    """Collect one answer of at most 12 tokens (unless `max_tokens` is given)."""
    request = GenerationRequest(prompt_ids=prompt, adapter=adapter, sampling=Sampling(**{"max_tokens": 12} | sampling))
    events = [event async for event in subject.engine.submit(request)]
    return Answer("".join(event.text for event in events), tuple(event.token_id for event in events), tuple(events))


async def run_check(check: Check, subject: Subject) -> None:
    """Run one check and close the engine whatever happens."""
    try:
        await asyncio.wait_for(check(subject), timeout=60)
    finally:
        await subject.engine.close()


def refused(subject: Subject, request: GenerationRequest, kind: type[EngineError]) -> None:
    """Assert that the engine refuses `request` with `kind` at the call."""
    try:
        subject.engine.submit(request)
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__} at the call")
