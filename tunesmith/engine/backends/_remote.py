"""The Engine contract over HTTP: answers come from servers that hold the model, adapters are known by their digest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from tunesmith.engine.admission import Capacity, check_offered, check_request, check_score
from tunesmith.engine.backends._answer import Answer
from tunesmith.engine.backends._grammar import Grammars
from tunesmith.engine.backends._targets import Target, Targets
from tunesmith.engine.backends._wire import Dialect, events, generation_body, score_body, scored_tokens
from tunesmith.engine.detokenise import Codec
from tunesmith.engine.engine import Constraint, GenerationRequest, Sampling, ScoredToken, TokenEvent
from tunesmith.engine.residents import Resident, Residents
from tunesmith.errors import EngineError, ModelError, NotFound, RequestRefused

if TYPE_CHECKING:
    from llguidance import LLMatcher

__all__ = ["RemoteEngine", "RemoteModel", "refusal"]

_PROBE_TOKENS = 8


class RemoteModel(NamedTuple):
    """What is known of the model that the servers hold, and how they are spoken to.

    context: most tokens of prompt and answer. precision: what they compute in. headers: sent with each request.
    timeout_seconds: longest silence of a server that is still waited for. backend: the plugin's name. offered: which
    fields of `tunesmith.engine.admission.SHAPING` the servers do. grammars: compiles the constraints, where they do
    them.
    """

    codec: Codec
    vocabulary: int
    context: int
    precision: str
    dialect: Dialect
    headers: Mapping[str, str]
    timeout_seconds: float
    backend: str
    offered: Collection[str] = ()
    grammars: Grammars | None = None


class RemoteEngine:
    """An engine whose computing is done elsewhere.

    A request that has not yielded a token goes to another server when its own fails; one that has ends with
    EngineError.
    """

    def __init__(self, targets: Targets, model: RemoteModel) -> None:
        self._targets = targets
        self._model = model
        self._residents = Residents(None)
        self._changing: dict[str, asyncio.Lock] = {}
        self._client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        self._closed = False

    @property
    def context_length(self) -> int:
        """Most tokens that prompt and answer may have together."""
        return self._model.context

    @property
    def precision(self) -> str | None:
        """What the servers compute in."""
        return self._model.precision

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """Stream one answer; see `Engine.submit`."""
        self._check_open()
        check_request(request, self._capacity())
        check_offered(request.sampling, self._model.offered, self._model.backend)
        return self._stream(request, self._matcher(request.sampling.constraint))

    async def score(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None
    ) -> tuple[float, ...]:
        """Natural-log probabilities [A] of the answer's tokens. EngineError where the endpoint cannot give them."""
        return tuple(one.logprob for one in await self.score_with_top(prompt_ids, answer_ids, adapter, 0))

    async def score_with_top(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None, top: int
    ) -> tuple[ScoredToken, ...]:
        """The answer's tokens [A], each with the `top` likeliest at its place, as the endpoint tells them."""
        self._check_open()
        check_score(prompt_ids, answer_ids, adapter, self._capacity())
        if not self._model.dialect.scores:
            raise EngineError("This endpoint cannot score a given answer: it does not echo log-probabilities.")
        if not answer_ids:
            return ()
        ids = (*prompt_ids, *answer_ids)
        with self._residents.use(adapter):
            async for target in self._attempts(adapter):
                with self._failing(target):
                    body = score_body(ids, target.model, self._model.dialect.extras, top)
                    response = await self._http().post(f"{target.url}/completions", json=body)
                    _require_ok(response.status_code, response.content)
                    return scored_tokens(response.json(), len(ids), top)[len(prompt_ids) - 1 :]
        raise EngineError("No server could score the answer.")

    async def embed(self, prompt_ids: tuple[int, ...], adapter: str | None) -> tuple[float, ...]:
        """Refused: servers that generate give no hidden states."""
        raise RequestRefused(
            f"The {self._model.backend} backend does not embed: its servers give no hidden states.",
            hint="Serve embeddings with --backend embedded.",
        )

    async def load_adapter(self, digest: str, path: Path) -> None:
        """Make the adapter known to every server and see that it changes an answer."""
        self._check_open()
        async with self._changing.setdefault(digest, asyncio.Lock()):
            if digest in self._residents:
                return
            await asyncio.to_thread(self._targets.load, digest, path)
            try:
                await self._check_effect(digest)
            except BaseException:
                await asyncio.to_thread(self._targets.unload, digest)
                raise
            self._residents.add(digest, Resident(0, 0))

    async def unload_adapter(self, digest: str) -> None:
        """Refuse new requests for the adapter, let running ones finish, then make it unknown."""
        self._check_open()
        if digest not in self._residents:
            raise NotFound(f"The adapter {digest!r} is not loaded.")
        self._residents.remove(digest)
        async with self._changing.setdefault(digest, asyncio.Lock()):
            while self._residents.in_use(digest):
                await asyncio.sleep(0.005)
            await asyncio.to_thread(self._targets.unload, digest)

    def adapters(self) -> tuple[str, ...]:
        """Digests of the loaded adapters, sorted."""
        return tuple(self._residents.nbytes)

    def hold(self, digest: str) -> AbstractContextManager[None]:
        """Keep a loaded adapter loaded inside the block."""
        return self._residents.use(digest)

    def adapter_bytes(self) -> dict[str, int]:
        """Adapters take no memory of this process."""
        return self._residents.nbytes

    async def close(self) -> None:
        """Leave the servers (those that the engine started are stopped); running requests end with EngineError."""
        if self._closed:
            return
        self._closed = True
        if self._client is not None:
            await self._client[1].aclose()
        await asyncio.to_thread(self._targets.close)

    async def _stream(self, request: GenerationRequest, matcher: LLMatcher | None) -> AsyncIterator[TokenEvent]:
        with self._residents.use(request.adapter):
            async with aclosing(self._answered(request, matcher)) as found:
                async for event in found:
                    yield event

    async def _answered(
        self, request: GenerationRequest, matcher: LLMatcher | None = None
    ) -> AsyncGenerator[TokenEvent, None]:
        async for target in self._attempts(request.adapter):
            fresh = matcher.deep_copy() if matcher is not None else None
            answer = Answer(request.sampling, self._model.codec, self._model.dialect, fresh)
            with self._failing(target, answer):
                async with aclosing(self._documents(target, request)) as documents:
                    async for document in documents:
                        for event in answer.take(document):
                            self._check_open()
                            yield event
                        if answer.ended:
                            return
                raise EngineError("The endpoint ended an answer without saying why.")

    async def _documents(self, target: Target, request: GenerationRequest) -> AsyncGenerator[dict[str, Any], None]:
        body = generation_body(request, target.model, self._model.codec.stop_ids, self._model.dialect.extras)
        async with self._http().stream("POST", f"{target.url}/completions", json=body) as response:
            if response.status_code != httpx.codes.OK:
                _require_ok(response.status_code, await response.aread())
            async with aclosing(events(response.aiter_bytes())) as documents:
                async for document in documents:
                    yield document

    async def _attempts(self, adapter: str | None) -> AsyncIterator[Target]:
        """Servers to try one after the other; when all have failed they are looked at again and tried once more."""
        for refreshed in (False, True):
            if refreshed:
                await asyncio.to_thread(self._targets.refresh)
            tried: set[str] = set()
            while (target := self._targets.pick(adapter, tried)) is not None:
                self._check_open()
                tried.add(target.url)
                yield target
        self._check_open()
        raise EngineError("No server that has the model answers.", hint="Is it running? It is looked for again.")

    @contextmanager
    def _failing(self, target: Target, answer: Answer | None = None) -> Iterator[None]:
        """Swallow, and take note of, a failure that another server may make good; raise EngineError for any other."""
        try:
            yield
        except (httpx.TransportError, httpx.StreamError, ConnectionError, _Elsewhere) as error:
            if self._closed:
                raise EngineError("The engine was closed.") from error
            self._targets.lost(target, reachable=isinstance(error, _Elsewhere))
            if answer is not None and answer.tokens:
                raise EngineError(f"The server at {target.url} broke off in the middle of the answer.") from error
        except json.JSONDecodeError as error:
            raise EngineError(f"The server at {target.url} sent what is not JSON.") from error

    async def _check_effect(self, digest: str) -> None:
        """The adapter changes what is said after a probe prompt."""
        probe = tuple(index % self._model.vocabulary for index in range(1, _PROBE_TOKENS + 1))
        said = []
        for adapter in (None, digest):
            request = GenerationRequest(
                prompt_ids=probe, adapter=adapter, sampling=Sampling(max_tokens=1, top_logprobs=5)
            )
            said.append([(event.logprob, event.top) async for event in self._answered(request)])
        if said[0] == said[1]:
            raise ModelError(
                f"The adapter {digest[:12]} changes nothing: after a probe prompt the model says what the base says."
            )

    def _matcher(self, constraint: Constraint | None) -> LLMatcher | None:
        """What watches the constraint. Raises RequestRefused for one that cannot be enforced whole."""
        if constraint is None or self._model.grammars is None:
            return None
        return self._model.grammars.matcher(constraint)

    def _capacity(self) -> Capacity:
        return Capacity(self._residents.virtual, self._model.vocabulary, self._model.context)

    def _http(self) -> httpx.AsyncClient:
        """The client of the running event loop: connections cannot be shared between loops."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            timeout = httpx.Timeout(self._model.timeout_seconds, connect=min(10.0, self._model.timeout_seconds))
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
            headers = dict(self._model.headers)
            self._client = (loop, httpx.AsyncClient(timeout=timeout, limits=limits, headers=headers, trust_env=False))
        return self._client[1]

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("The engine was closed.")


class _Elsewhere(Exception):
    """This server cannot answer now; another may."""


def refusal(status: int, content: bytes) -> str:
    """What a server says with an error, in one line."""
    try:
        error = json.loads(content)["error"]
        return f"{status}: {error['message'] if isinstance(error, dict) else error}"
    except (ValueError, KeyError, TypeError):
        return f"{status}: {content[:200].decode(errors='replace')}"


def _require_ok(status: int, content: bytes) -> None:
    if status == httpx.codes.OK:
        return
    if status in (404, 408, 429) or status >= 500:
        raise _Elsewhere(refusal(status, content))
    hint = "Set api_key of the backend." if status in (401, 403) else None
    raise EngineError(f"The endpoint refused the request with {refusal(status, content)}", hint=hint)
