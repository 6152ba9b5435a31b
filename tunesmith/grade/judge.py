"""Models that judge: the contract, and any OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import httpx

from tunesmith.errors import EvaluationError

__all__ = ["HttpJudge", "Judge", "JudgeFailed", "Judgement"]

RETRIES = 2
CONCURRENCY = 8
TIMEOUT_SECONDS = 120.0


class Judgement(NamedTuple):
    """What a judging model said."""

    text: str
    refusal: str | None
    tokens: int
    """prompt and answer together"""
    cut_off: bool = False
    """whether the answer reached the most tokens allowed before it ended"""


class JudgeFailed(RuntimeError):
    """The model could not be asked; the grade is unscored."""


class Judge(Protocol):
    """Something that can ask models by name."""

    async def ask(self, model: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Judgement:
        """One answer; `options` are fields of OpenAI's chat completions. Raises JudgeFailed."""

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text. Raises JudgeFailed."""


class HttpJudge:
    """A server that speaks OpenAI's chat completions (and, for `embed`, embeddings). Use as `async with`.

    At most eight requests run at a time; a busy or broken server is asked again twice.
    """

    def __init__(
        self,
        base_url: str,
        key_variable: str = "OPENAI_API_KEY",
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        key: str | None = None,
    ) -> None:
        """`key` goes before the one in the environment variable `key_variable`."""
        key = key or os.environ.get(key_variable)
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=TIMEOUT_SECONDS,
            transport=transport,
        )
        self._gate = asyncio.Semaphore(CONCURRENCY)

    async def __aenter__(self) -> HttpJudge:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(self, model: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Judgement:
        """One chat completion."""
        body = await self._post("chat/completions", {"model": model, "messages": list(messages), **options})
        try:
            choice = body["choices"][0]
            message = choice["message"]
            used = (body.get("usage") or {}).get("total_tokens", 0)
            cut_off = choice.get("finish_reason") == "length"
            return Judgement(message.get("content") or "", message.get("refusal"), int(used), cut_off)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise JudgeFailed(f"the server's answer is no chat completion: {error!r}") from None

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """One embedding per text."""
        request = {"model": model, "input": list(texts), "encoding_format": "float"}
        body = await self._post("embeddings", request)
        try:
            return [list(map(float, entry["embedding"])) for entry in body["data"]]
        except (KeyError, TypeError, ValueError) as error:
            raise JudgeFailed(f"the server's answer is no list of embeddings: {error!r}") from None

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        trouble = ""
        async with self._gate:
            for attempt in range(1 + RETRIES):
                if attempt:
                    await asyncio.sleep(0.25 * 2**attempt)
                try:
                    response = await self._client.post(path, json=body)
                except httpx.InvalidURL as error:
                    raise EvaluationError(f"{path}: {error}", hint="Set base_url to the server's address.") from None
                except httpx.TransportError as error:
                    trouble = f"{type(error).__name__}: {error}"
                    continue
                if response.status_code == 429 or response.status_code >= 500:
                    trouble = f"status {response.status_code}: {response.text[:500]}"
                    continue
                if response.status_code >= 400:
                    raise JudgeFailed(f"status {response.status_code}: {response.text[:500]}")
                try:
                    return response.json()
                except ValueError:
                    raise JudgeFailed(f"the server's answer is no JSON: {response.text[:200]}") from None
        raise JudgeFailed(f"{trouble} (asked {1 + RETRIES} times)")
