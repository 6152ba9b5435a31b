"""The requests of a batch file, checked as a whole, and the answer to one of them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tunesmith.errors import Problem
from tunesmith.serve.access import KeyGone
from tunesmith.serve.api.files.lines import json_lines
from tunesmith.types.batches import BatchEndpoint, BatchProblem, BatchResult

__all__ = ["Checked", "Request", "answer", "check", "requests_of", "unanswered"]

_SHOWN = 20
_LONGEST_WAIT = 60.0
_BUSY = (429, 503)


class Request(NamedTuple):
    """One request: its line, counted from 1, the client's name for it, and what is asked."""

    line: int
    custom_id: str
    body: dict[str, Any]


class Checked(NamedTuple):
    """How many requests there are, the model they all ask (if it is one), and what is wrong."""

    total: int
    model: str | None
    problems: tuple[BatchProblem, ...]


def requests_of(path: Path) -> Iterator[Request]:
    """The requests in the batch file at `path`, which was checked when it was uploaded."""
    for line, found in json_lines(path):
        if not isinstance(found, Problem):
            yield Request(line, found["custom_id"], found["body"])


def check(path: Path, endpoint: BatchEndpoint) -> Checked:
    """Whether every request of the file goes to `endpoint`, and none wants a stream."""
    total, problems = 0, []
    models: set[str | None] = set()
    for line, found in json_lines(path):
        if isinstance(found, Problem):
            problems.append(BatchProblem(code="invalid_json_line", message=str(found), line=line))
            continue
        total += 1
        model = found["body"].get("model")
        models.add(model if isinstance(model, str) else None)  # what it is otherwise, its endpoint refuses
        if found["url"] != endpoint:
            message = f"The url is {found['url']}, but the batch is for {endpoint}."
            problems.append(BatchProblem(code="mismatched_url", message=message, line=line, param="url"))
        if found["body"].get("stream"):
            message = "A batch has whole answers: leave stream away."
            problems.append(BatchProblem(code="stream_not_offered", message=message, line=line, param="body.stream"))
    return Checked(total, models.pop() if len(models) == 1 else None, tuple(problems[:_SHOWN]))


async def answer(client: httpx.AsyncClient, endpoint: BatchEndpoint, request: Request) -> BatchResult:
    """Ask the server itself. A server that is busy is asked again when it says. Raises KeyGone when the key that the
    batch goes on with is no more: that is no answer to the request.
    """
    while True:
        response = await client.post(endpoint.removeprefix("/v1"), json=request.body)
        wait = _pause(response)
        if wait is None:
            break
        await asyncio.sleep(wait)
    if response.status_code == HTTPStatus.UNAUTHORIZED:  # the server asks itself: only its access check says that
        raise KeyGone
    try:
        body = response.json()
    except ValueError:
        message = f"Internal error: the answer has the status {response.status_code} and no JSON."
        return unanswered(request, "server_error", message)
    answered = {"status_code": response.status_code, "request_id": response.headers.get("x-request-id"), "body": body}
    usage = body.get("usage") or {} if response.is_success else {}
    return BatchResult(
        line=request.line,
        failed=not response.is_success,
        content=_line(request, answered, None),
        input_tokens=usage.get("prompt_tokens", usage.get("input_tokens", 0)),
        output_tokens=usage.get("completion_tokens", usage.get("output_tokens", 0)),
    )


def unanswered(request: Request, code: str, message: str) -> BatchResult:
    """The error line of a request that was never answered."""
    return BatchResult(line=request.line, failed=True, content=_line(request, None, {"code": code, "message": message}))


def _pause(response: httpx.Response) -> float | None:
    """Seconds to wait before asking again; None when the answer is the answer."""
    if response.status_code not in _BUSY:
        return None
    try:
        return min(max(float(response.headers["retry-after"]), 0.1), _LONGEST_WAIT)
    except (KeyError, ValueError):
        return None


def _line(request: Request, response: dict[str, Any] | None, error: dict[str, str] | None) -> str:
    named = {"id": f"batch_req_{secrets.token_hex(12)}", "custom_id": request.custom_id}
    return json.dumps({**named, "response": response, "error": error}, ensure_ascii=False) + "\n"
