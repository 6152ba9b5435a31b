"""What is graded: an answer that the data source has, or one that a model of this server gives now."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import httpx

from tunesmith.grade.grader import Sample
from tunesmith.grade.placeholders import Unresolved
from tunesmith.serve.api.evals.protocol import CompletionsSource, GivenSample, SamplingParams, SourceRow
from tunesmith.serve.api.evals.sources import messages_of
from tunesmith.types.evals import ModelUsage

__all__ = ["Said", "asked", "given"]

# A busy server says when to come again; this many times is asked, and this long is waited at most each time.
_ATTEMPTS = 30
_LONGEST_WAIT_SECONDS = 30.0


class Said(NamedTuple):
    """An answer as the API shows it and as graders read it; None when there is none, with the error in `shown`."""

    shown: dict[str, Any]
    sample: Sample | None
    usage: ModelUsage


def given(row: SourceRow) -> Said:
    """The answer that the row has; an empty one where it has none, for criteria that look at the row alone."""
    known = row.sample or GivenSample()
    sample = Sample(output_text=known.output_text or "", output_tools=tuple(known.output_tools or ()))
    output = [{"role": "assistant", "content": sample.output_text}] if row.sample is not None else []
    return Said(_shown([], output, "", "stop", ModelUsage(), SamplingParams()), sample, ModelUsage())


async def asked(client: httpx.AsyncClient, source: CompletionsSource, row: SourceRow) -> Said:
    """What the model of `source` answers to the row."""
    params = source.sampling_params or SamplingParams()
    try:
        messages = messages_of(source, dict(row.item))
    except Unresolved as error:
        return _failed([], source, params, error.kind, str(error))
    response = await _post(client, {"model": source.model, "messages": messages, **_options(params)})
    body = response.json()
    if response.is_error:
        reason = body["error"]
        return _failed(messages, source, params, reason["code"] or reason["type"], reason["message"])
    choice, used = body["choices"][0], body["usage"]
    message = choice["message"]
    tools = message.get("tool_calls") or []
    usage = ModelUsage(
        invocation_count=1,
        prompt_tokens=used["prompt_tokens"],
        completion_tokens=used["completion_tokens"],
        total_tokens=used["total_tokens"],
        cached_tokens=(used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
    )
    output = {"role": "assistant", "content": message.get("content")} | ({"tool_calls": tools} if tools else {})
    shown = _shown(messages, [output], body["model"], choice["finish_reason"], usage, params)
    return Said(shown, Sample(output_text=message.get("content") or "", output_tools=tuple(tools)), usage)


async def _post(client: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    """The answer; a server that is busy is asked again when it says so."""
    for attempt in range(_ATTEMPTS):
        response = await client.post("chat/completions", json=body)
        if response.status_code != 429 or attempt == _ATTEMPTS - 1:
            break
        await asyncio.sleep(min(_LONGEST_WAIT_SECONDS, _seconds(response.headers.get("retry-after"), attempt)))
    return response


def _seconds(retry_after: str | None, attempt: int) -> float:
    try:
        return max(0.05, float(retry_after or ""))
    except ValueError:
        return 0.5 * 2.0**attempt


def _options(params: SamplingParams) -> dict[str, Any]:
    return params.model_dump(exclude_none=True)


def _failed(
    messages: list[dict[str, Any]], source: CompletionsSource, params: SamplingParams, code: str, message: str
) -> Said:
    shown = _shown(messages, [], source.model, "", ModelUsage(), params)
    return Said(shown | {"error": {"code": code, "message": message}}, None, ModelUsage())


def _shown(
    messages: list[dict[str, Any]],
    output: list[dict[str, Any]],
    model: str,
    finish_reason: str,
    usage: ModelUsage,
    params: SamplingParams,
) -> dict[str, Any]:
    return {
        "input": messages,
        "output": output,
        "model": model,
        "finish_reason": finish_reason,
        "usage": usage.model_dump(exclude={"invocation_count"}),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "seed": params.seed,
        "max_completion_tokens": params.max_completion_tokens,
        "error": None,
    }
