"""What is graded: an answer that the data source has, or one that a model of this server gives now."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import httpx

from tunesmith.grade.grader import Sample
from tunesmith.serve.api.evals.data_sources import GivenSample, ResponsesSampling, SamplingParams, SourceRow
from tunesmith.serve.api.evals.kept_rows import KeptRow, LostRow
from tunesmith.types.evals import ModelUsage

__all__ = ["Asked", "Said", "failed", "given", "post", "refused", "said"]

# A busy server says when to come again; this many times is asked, and this long is waited at most each time.
_ATTEMPTS = 30
_LONGEST_WAIT_SECONDS = 30.0


class Asked(NamedTuple):
    """What an answer was asked with, as the API shows it."""

    model: str = ""
    messages: list[dict[str, Any]] = []
    params: SamplingParams | ResponsesSampling = SamplingParams()


class Said(NamedTuple):
    """An answer as the API shows it and as graders read it; None when there is none, with the error in `shown`."""

    shown: dict[str, Any]
    sample: Sample | None
    usage: ModelUsage


def given(row: SourceRow) -> Said:
    """The answer that the row has; an empty one where it has none, for criteria that look at the row alone."""
    if isinstance(row, LostRow):
        return failed(Asked(), "not_found", row.reason)
    known = row.sample or GivenSample()
    sample = Sample(output_text=known.output_text or "", output_tools=tuple(known.output_tools or ()))
    if isinstance(row, KeptRow):
        return said(Asked(row.model, row.messages), sample, row.finish_reason, ModelUsage())
    output = [{"role": "assistant", "content": sample.output_text}] if row.sample is not None else []
    return Said(_shown(Asked(), output, "stop", ModelUsage()), sample, ModelUsage())


def said(asked: Asked, sample: Sample, finish_reason: str, usage: ModelUsage) -> Said:
    """What a model answered."""
    tools = list(sample.output_tools)
    output: dict[str, Any] = {"role": "assistant", "content": sample.output_text or (None if tools else "")}
    return Said(_shown(asked, [output | ({"tool_calls": tools} if tools else {})], finish_reason, usage), sample, usage)


def failed(asked: Asked, code: str, message: str) -> Said:
    """There is no answer, for this reason."""
    shown = _shown(asked, [], "", ModelUsage())
    return Said(shown | {"error": {"code": code, "message": message}}, None, ModelUsage())


def refused(asked: Asked, response: httpx.Response) -> Said:
    """The server gave an error in the place of an answer."""
    reason = response.json()["error"]
    return failed(asked, reason["code"] or reason["type"], reason["message"])


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> httpx.Response:
    """The answer; a server that is busy is asked again when it says so."""
    for attempt in range(_ATTEMPTS):
        response = await client.post(path, json=body)
        if response.status_code != 429 or attempt == _ATTEMPTS - 1:
            break
        await asyncio.sleep(min(_LONGEST_WAIT_SECONDS, _seconds(response.headers.get("retry-after"), attempt)))
    return response


def _seconds(retry_after: str | None, attempt: int) -> float:
    try:
        return max(0.05, float(retry_after or ""))
    except ValueError:
        return 0.5 * 2.0**attempt


def _shown(asked: Asked, output: list[dict[str, Any]], finish_reason: str, usage: ModelUsage) -> dict[str, Any]:
    return {
        "input": asked.messages,
        "output": output,
        "model": asked.model,
        "finish_reason": finish_reason,
        "usage": usage.model_dump(exclude={"invocation_count"}),
        "temperature": asked.params.temperature,
        "top_p": asked.params.top_p,
        "seed": asked.params.seed,
        "max_completion_tokens": asked.params.max_completion_tokens,
        "error": None,
    }
