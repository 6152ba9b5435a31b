"""Asking the tested model about a row, through the same addresses as any client."""

from __future__ import annotations

from typing import Any

import httpx

from tunesmith.grade.grader import Sample
from tunesmith.grade.placeholders import Unresolved
from tunesmith.serve.api.evals.answers import Asked, Said, failed, given, post, refused, said
from tunesmith.serve.api.evals.data_sources import (
    CompletionsSource,
    DataSource,
    JsonlSource,
    ResponsesSampling,
    SamplingParams,
    SourceRow,
)
from tunesmith.serve.api.evals.kept_rows import LostRow
from tunesmith.serve.api.evals.sources import input_of, messages_of
from tunesmith.serve.api.evals.transcript import plain, spoken
from tunesmith.types.evals import ModelUsage

__all__ = ["answer_to"]


async def answer_to(client: httpx.AsyncClient, source: DataSource, row: SourceRow) -> Said:
    """The answer to the row: what a model of this server says now, where the source names one, else the row's own."""
    if isinstance(source, JsonlSource) or source.model is None or isinstance(row, LostRow):
        return given(row)
    asked = Asked(source.model, [], source.sampling_params or SamplingParams())
    try:
        if isinstance(source, CompletionsSource):
            return await _chat(client, asked, messages_of(source, dict(row.item)))
        return await _response(client, asked, input_of(source, dict(row.item)))
    except Unresolved as error:
        return failed(asked, error.kind, str(error))


async def _chat(client: httpx.AsyncClient, asked: Asked, messages: list[dict[str, Any]]) -> Said:
    asked = asked._replace(messages=plain(messages))
    body = {"model": asked.model, "messages": messages, **asked.params.model_dump(exclude_none=True)}
    response = await post(client, "chat/completions", body)
    if response.is_error:
        return refused(asked, response)
    told = response.json()
    choice, used = told["choices"][0], told["usage"]
    usage = _usage(used["prompt_tokens"], used["completion_tokens"], used["prompt_tokens_details"])
    tools = tuple(choice["message"].get("tool_calls") or ())
    sample = Sample(output_text=choice["message"].get("content") or "", output_tools=tools)
    return said(asked, sample, choice["finish_reason"], usage)


async def _response(client: httpx.AsyncClient, asked: Asked, items: str | list[dict[str, Any]]) -> Said:
    asked = asked._replace(messages=plain(items))
    body = {"model": asked.model, "input": items, "store": False, **_options(asked.params)}
    response = await post(client, "responses", body)
    if response.is_error:
        return refused(asked, response)
    told = response.json()
    used = told["usage"]
    usage = _usage(used["input_tokens"], used["output_tokens"], used["input_tokens_details"])
    text, tools, finish_reason = spoken(told)
    return said(asked, Sample(output_text=text, output_tools=tuple(tools)), finish_reason, usage)


def _options(params: SamplingParams | ResponsesSampling) -> dict[str, Any]:
    """Sampling parameters by the names that responses have for them."""
    options = params.model_dump(by_alias=True, exclude_none=True, exclude={"max_completion_tokens", "reasoning_effort"})
    if params.max_completion_tokens is not None:
        options["max_output_tokens"] = params.max_completion_tokens
    if params.reasoning_effort is not None:
        options["reasoning"] = {"effort": params.reasoning_effort}
    return options


def _usage(prompt: int, answer: int, details: dict[str, Any]) -> ModelUsage:
    return ModelUsage(
        invocation_count=1,
        prompt_tokens=prompt,
        completion_tokens=answer,
        total_tokens=prompt + answer,
        cached_tokens=details["cached_tokens"],
    )
