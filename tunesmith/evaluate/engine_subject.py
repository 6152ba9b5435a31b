"""A model in this process: an engine and the one renderer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tunesmith.engine.calls import ArgumentsDelta, CallParser, CallStart, TextDelta
from tunesmith.engine.engine import Engine, GenerationRequest, Sampling
from tunesmith.errors import EvaluationError, TunesmithError
from tunesmith.evaluate.asking import PromptRenderer
from tunesmith.evaluate.prompting import AS_WRITTEN, Prompting
from tunesmith.evaluate.subject import Asked, Reply
from tunesmith.types.conversation import Message
from tunesmith.types.suite import Item
from tunesmith.types.tool_syntax import ToolSyntax

__all__ = ["EngineSubject", "Served", "ToolRenderer"]


class ToolRenderer(PromptRenderer, Protocol):
    """A renderer that also knows how its model writes tool calls."""

    @property
    def tool_syntax(self) -> ToolSyntax | None:
        """None when the model writes none."""


class Served(NamedTuple):
    """An engine, its renderer and the digest of the adapter to apply.

    `model` is the model's name, `digests` all else that its answers depend on.
    """

    engine: Engine
    renderer: ToolRenderer
    model: str
    adapter: str | None
    digests: dict[str, str]


class EngineSubject:
    """A model of an engine, asked without a server between."""

    def __init__(self, name: str, served: Served, prompting: Prompting = AS_WRITTEN) -> None:
        self._name, self._served, self._prompting = name, served, prompting

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return self._name

    @property
    def identity(self) -> dict[str, Any]:
        """The model, its adapter, its digests, and how it is asked."""
        served, prompting = self._served, self._prompting.model_dump(mode="json")
        return {"model": served.model, "adapter": served.adapter, **served.digests, "prompting": prompting}

    async def answer(self, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
        """One answer of the engine. Raises EvaluationError when the engine refuses the item."""
        try:
            return await self._generate(item, messages, asked)
        except TunesmithError as error:
            raise EvaluationError(error.message, hint=error.hint) from error

    async def logprob(self, item: Item, answer: str) -> tuple[float, int] | None:
        """The answer and its end of turn, scored behind the item's prompt, which the engine computes once."""
        served = self._served
        try:
            prompt = served.renderer.prompt_ids(self._prompting.applied(item.messages), item.tools)
            found = await served.engine.score(prompt, served.renderer.answer_ids(answer), served.adapter)
        except TunesmithError as error:
            raise EvaluationError(error.message, hint=error.hint) from error
        return sum(found), len(found)

    async def _generate(self, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
        served = self._served
        prompt = served.renderer.prompt_ids(self._prompting.applied(messages), item.tools)
        sampling = Sampling(max_tokens=asked.max_new_tokens, temperature=asked.temperature, seed=asked.seed)
        request = GenerationRequest(prompt_ids=prompt, adapter=served.adapter, sampling=sampling)
        texts: list[str] = []
        logprobs: list[float] = []
        first = finish = None
        started = time.perf_counter()
        async for event in served.engine.submit(request):
            first = time.perf_counter() - started if first is None else first
            texts.append(event.text)
            logprobs.append(event.logprob)
            finish = event.finish_reason or finish
        if first is None or finish is None:
            raise EvaluationError("The engine ended an answer without saying why it stopped.")
        seconds = time.perf_counter() - started
        text, calls = self._read("".join(texts), item.tools)
        return Reply(
            text=text,
            tokens=len(texts),
            prompt_tokens=len(prompt),
            seconds=seconds,
            first_token_seconds=first,
            finish_reason="tool_calls" if calls else finish,
            calls=calls,
            logprobs=tuple(logprobs),
        )

    def _read(self, text: str, tools: Sequence[dict[str, Any]]) -> tuple[str, tuple[dict[str, Any], ...]]:
        """The text and the calls in what the model wrote, as the server reads them."""
        syntax = self._served.renderer.tool_syntax if tools else None
        if syntax is None:
            return text, ()
        parser = CallParser(syntax, [tool["function"]["name"] for tool in tools])
        said: list[str] = []
        calls: list[dict[str, Any]] = []
        for found in [*parser.push(text), *parser.finish()]:
            if isinstance(found, TextDelta):
                said.append(found.text)
            elif isinstance(found, CallStart):
                calls.append({"name": found.name, "arguments": ""})
            elif isinstance(found, ArgumentsDelta):
                calls[found.number]["arguments"] += found.text
        return "".join(said), tuple(calls)
