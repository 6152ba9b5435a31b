"""A model behind an address: any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

import httpx

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.asking import PromptRenderer
from tunesmith.evaluate.backoff import Backoff, Passing, retry_after_seconds
from tunesmith.evaluate.chat_stream import read_reply
from tunesmith.evaluate.prompting import AS_WRITTEN, Prompting
from tunesmith.evaluate.subject import Asked, Reply
from tunesmith.types.conversation import Message
from tunesmith.types.suite import Item

__all__ = ["Address", "HttpSubject", "wire_message"]

_OPTIONAL = ("logprobs", "seed", "stream_options")
_TIMEOUT_SECONDS = 300.0
_CONNECTIONS = 256


class Address(NamedTuple):
    """Where a model answers: `url` ends in /v1. The key is `key`, or what the variable `key_variable` holds.

    `digest` identifies the model where the name does not (a local release); `renderer` makes the token ids that
    log-probabilities of given answers need, where the model's own template is at hand.
    """

    url: str
    model: str
    key: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    digest: str = ""
    renderer: PromptRenderer | None = None


class HttpSubject:
    """A model of a server. Use as `async with`.

    Answers are streamed, for the time to the first token. A server that is busy, broken or gone is asked again (see
    `Backoff`); a field that it refuses (`logprobs`, `seed`, `stream_options`) is left out from then on, and one that
    takes no `max_tokens` gets `max_completion_tokens`.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        prompting: Prompting = AS_WRITTEN,
        *,
        backoff: Backoff | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name, self._address, self._prompting = name, address, prompting
        self._backoff = backoff or Backoff()
        key = address.key or os.environ.get(address.key_variable)
        self._client = httpx.AsyncClient(
            base_url=address.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_TIMEOUT_SECONDS, connect=10.0),
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            transport=transport,
            trust_env=transport is None and not _is_local(address.url),
        )
        self._refused: set[str] = set()

    async def __aenter__(self) -> HttpSubject:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return self._name

    @property
    def identity(self) -> dict[str, Any]:
        """The model's digest, or its name and address; and how it is asked."""
        address = self._address
        place = {"digest": address.digest} if address.digest else {"url": address.url.rstrip("/")}
        return {"model": address.model, **place, "prompting": self._prompting.model_dump(mode="json")}

    async def answer(self, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
        """One chat completion. Raises EvaluationError when it is refused, or cannot be had after all retries."""
        body: dict[str, Any] = {
            "model": self._address.model,
            "messages": [wire_message(message) for message in self._prompting.applied(messages)],
            "temperature": asked.temperature,
            "max_tokens": asked.max_new_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logprobs": True,
        }
        if item.tools:
            body["tools"] = list(item.tools)
        if asked.seed is not None:
            body["seed"] = asked.seed
        return await self._backoff.run(lambda: self._chat(body))

    async def logprob(self, item: Item, answer: str) -> tuple[float, int] | None:
        """The answer's tokens scored behind the prompt (`/v1/completions` with `echo`); None without a renderer, or
        where the server gives no log-probabilities of a prompt.
        """
        renderer = self._address.renderer
        if renderer is None or "echo" in self._refused:
            return None
        prompt = renderer.prompt_ids(self._prompting.applied(item.messages), item.tools)
        ids = renderer.answer_ids(answer)
        body = {
            "model": self._address.model,
            "prompt": [*prompt, *ids],
            "max_tokens": 0,
            "echo": True,
            "logprobs": 0,
        }
        found = await self._backoff.run(lambda: self._echo(body))
        if found is None or len(found) < len(ids):
            return None
        return sum(found[-len(ids) :]), len(ids)

    async def _chat(self, body: dict[str, Any]) -> Reply:
        started = time.perf_counter()
        sent = self._accepted(body)
        async with self._client.stream("POST", "chat/completions", json=sent) as response:
            if response.status_code == 200:
                return await read_reply(response.aiter_lines(), started)
            field, message = _said(response, await response.aread())
        if response.status_code == 400 and self._leave_out(field, message, sent):
            return await self._chat(body)
        raise EvaluationError(_refusal(response, self._address, message), hint=_hint(response, self._address))

    async def _echo(self, body: dict[str, Any]) -> Sequence[float] | None:
        response = await self._client.post("completions", json=body)
        _, message = _said(response, response.content)
        if response.status_code in (400, 404, 405, 422, 501):
            self._refused.add("echo")
            return None
        if response.status_code != 200:
            raise EvaluationError(_refusal(response, self._address, message), hint=_hint(response, self._address))
        try:
            found = response.json()["choices"][0]["logprobs"]["token_logprobs"]
        except (ValueError, KeyError, IndexError, TypeError):
            self._refused.add("echo")
            return None
        return [float(each) for each in found[1:]]

    def _accepted(self, body: dict[str, Any]) -> dict[str, Any]:
        """`body` without what this server has refused."""
        kept = {name: value for name, value in body.items() if name not in self._refused}
        if "max_tokens" in self._refused:
            kept["max_completion_tokens"] = body["max_tokens"]
        return kept

    def _leave_out(self, field: str, message: str, sent: dict[str, Any]) -> bool:
        """Whether the refused field is one that was `sent` and can be left out: all in flight are refused at once."""
        for name in (*_OPTIONAL, "max_tokens"):
            if name in sent and (field == name or (not field and name in message)):
                self._refused.add(name)
                return True
        return False


def wire_message(message: Message) -> dict[str, Any]:
    """The message as OpenAI's API takes it."""
    wire = message.model_dump(mode="json", exclude_none=True, exclude={"weight"})
    return {field: value for field, value in wire.items() if value != []}


def _said(response: httpx.Response, content: bytes) -> tuple[str, str]:
    """(the field that an error is about, its message). Raises Passing for what may pass."""
    field, message = "", content[:500].decode("utf-8", errors="replace")
    try:
        error = json.loads(content)["error"]
        field, message = error.get("param") or "", error.get("message") or message
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # not every server says it in OpenAI's form
    if response.status_code in (408, 409, 425, 429) or response.status_code >= 500:
        wait = retry_after_seconds(response.headers.get("retry-after"))
        raise Passing(f"status {response.status_code}: {message}", wait)
    return field, message


def _refusal(response: httpx.Response, address: Address, message: str) -> str:
    return f"{address.model} at {address.url} refused (status {response.status_code}): {message}"


def _hint(response: httpx.Response, address: Address) -> str | None:
    if response.status_code in (401, 403):
        return f"Put the server's key into {address.key_variable}."
    return "Is the address right, and does it end in /v1?" if response.status_code == 404 else None


def _is_local(url: str) -> bool:
    return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
