"""Making responses, whole or streamed, after the responses they go on from."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

from tunesmith.engine.engine import TokenEvent
from tunesmith.errors import NotFound
from tunesmith.serve.answering.answering import Answers, answering, planned
from tunesmith.serve.answering.events import failure_of, guarded, started
from tunesmith.serve.answering.plan import Plan
from tunesmith.serve.api.chat_completions.answers import Reader, logprobs
from tunesmith.serve.api.responses.builder import Builder, Event
from tunesmith.serve.api.responses.items import as_messages, kept_items, new_id
from tunesmith.serve.api.responses.protocol import InputTokensRequest, ResponseRequest
from tunesmith.serve.failures import invalid
from tunesmith.serve.service import Service
from tunesmith.store.responses import add_response, chain_of
from tunesmith.types.responses import StoredResponse

__all__ = ["count_tokens", "create", "stream"]


async def create(service: Service, request: ResponseRequest, project: str) -> dict[str, Any]:
    """The whole response of a model that `project` sees."""
    found, items = await _prepare(service, request, project)
    builder = Builder(_begun(request, found))
    async with answering(service, found) as answers:
        async for _ in _events(service, request, found, builder, answers):
            pass
    await _keep(service, request, project, builder, items)
    return builder.response


async def stream(service: Service, request: ResponseRequest, project: str) -> AsyncGenerator[str, None]:
    """Server-sent events of the response. What can be known before the first byte is raised here."""
    found, items = await _prepare(service, request, project)
    builder = Builder(_begun(request, found))
    async with AsyncExitStack() as opened:
        answers = await opened.enter_async_context(answering(service, found))
        kept = opened.pop_all()

    async def written() -> AsyncGenerator[str, None]:
        try:
            async for event in _events(service, request, found, builder, answers):
                if event["type"] in ("response.completed", "response.incomplete"):
                    await _keep(service, request, project, builder, items)
                yield _written(event)
        except Exception as error:  # noqa: BLE001 - told to the client, who has no status code any more, and logged
            failure = failure_of(error)
            yield _written(builder.fail(failure.code or failure.kind, failure.message))

    return await started(guarded(written(), kept))


async def count_tokens(service: Service, request: InputTokensRequest, project: str) -> int:
    """Tokens of the prompt that a response would have."""
    messages = await _messages(service, request, project, kept_items(request.input or ()))
    found = await planned(service, request.as_ask(messages), project)
    return len(found.prompt_ids)


async def _prepare(service: Service, request: ResponseRequest, project: str) -> tuple[Plan, tuple[dict[str, Any], ...]]:
    items = kept_items(request.input)
    messages = await _messages(service, request, project, items)
    return await planned(service, request.as_ask(messages), project), items


async def _messages(
    service: Service, request: InputTokensRequest, project: str, items: tuple[dict[str, Any], ...]
) -> Any:
    """The messages of the responses before this one, then its own. Earlier instructions are not carried over."""
    before: list[dict[str, Any]] = []
    if request.previous_response_id is not None:
        try:
            earlier = await asyncio.to_thread(_chain, service, project, request.previous_response_id)
        except NotFound as error:
            raise invalid(error.message, "previous_response_id", "previous_response_not_found") from error
        for one in earlier:
            before += [*one.input, *one.content["output"]]
    return as_messages([*before, *items])


def _chain(service: Service, project: str, identity: str) -> tuple[StoredResponse, ...]:
    with service.platform.database.transaction() as session:
        return chain_of(session, project, identity)


def _begun(request: ResponseRequest, found: Plan) -> dict[str, Any]:
    """The response before anything is said, with every field."""
    sampling = found.samplings[0]
    echoed = request.model_dump(
        mode="json",
        by_alias=True,
        include={
            "instructions", "max_output_tokens", "max_tool_calls", "model", "previous_response_id", "prompt_cache_key",
            "safety_identifier", "user",
        },
    )  # fmt: skip
    form = request.text.format.model_dump(mode="json", by_alias=True) if request.text and request.text.format else None
    choice = request.tool_choice if request.tool_choice is not None else "auto"
    return echoed | {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "metadata": request.metadata or {},
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": sampling.temperature,
        "text": {"format": form or {"type": "text"}},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(mode="json"),
        "tools": [tool.model_dump(mode="json") for tool in request.tools or ()],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": sampling.top_p,
        "truncation": "disabled",
        "usage": None,
    }


async def _events(
    service: Service, request: ResponseRequest, found: Plan, builder: Builder, answers: Answers
) -> AsyncGenerator[Event, None]:
    reader = Reader(found)
    tokens = 0
    for event in builder.open():
        yield event
    async for _, said in answers:
        tokens += 1
        shown = _shown(service, request, said)
        for piece in reader.read(said):
            for event in builder.add(piece, shown):
                yield event
            shown = []
        if said.finish_reason is not None:
            usage = _usage(len(found.prompt_ids), tokens, said.cached)
            for event in builder.close(usage, cut=said.finish_reason == "length"):
                yield event


def _shown(service: Service, request: ResponseRequest, said: TokenEvent) -> list[dict[str, Any]]:
    if not request.with_logprobs:
        return []
    found = [token.model_dump(mode="json") for token in logprobs([said], service.renderer).content]
    return [
        _with_bytes(token) | {"top_logprobs": [_with_bytes(top) for top in token["top_logprobs"]]} for token in found
    ]


def _with_bytes(token: dict[str, Any]) -> dict[str, Any]:
    return token | {"bytes": token["bytes"] or []}


def _usage(prompt: int, answer: int, cached: int) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + answer,
    }


async def _keep(
    service: Service, request: ResponseRequest, project: str, builder: Builder, items: tuple[dict[str, Any], ...]
) -> None:
    if request.store is False:
        return
    response = builder.response
    stored = StoredResponse(
        id=response["id"],
        project=project,
        created_at=response["created_at"],
        previous=request.previous_response_id,
        content=response,
        input=items,
    )

    def write() -> None:
        with service.platform.database.transaction() as session:
            add_response(session, stored)

    await asyncio.to_thread(write)


def _written(event: Event) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
