"""One OpenAI-compatible endpoint: found out at the start what it can do, and held to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tunesmith.engine.backends._identity import require_identity
from tunesmith.engine.backends._remote import RemoteEngine, RemoteModel, refusal
from tunesmith.engine.backends._replicas import Card, card_of
from tunesmith.engine.backends._targets import Target
from tunesmith.engine.backends._wire import Dialect, dialect_of, generation_body, score_body, scores
from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.errors import EngineError, ModelError, nearest
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.types.recipe import ModelSpec

__all__ = ["Given", "attach"]

# OpenAI's own fields, from servers whose way of speaking says that they follow it. What a server does with a schema is
# not known, so constraints are refused.
_SHAPING = ("frequency_penalty", "presence_penalty", "logit_bias")


class Given(NamedTuple):
    """What is known of an endpoint beforehand; see `tunesmith.engine.backends.openai.OpenAI`."""

    url: str
    model: str | None
    context: int | None
    precision: str
    headers: Mapping[str, str]
    timeout_seconds: float


def attach(base_path: Path, given: Given) -> RemoteEngine:
    """An engine over the endpoint. Raises EngineError with what it lacks, ModelError when it serves another model."""
    base = resolve_base(ModelSpec(base=str(base_path)), base_path)
    renderer = Renderer(base_path)
    client = httpx.Client(headers=dict(given.headers), timeout=given.timeout_seconds, trust_env=False)
    try:
        card = card_of(client, given.url)
        name = _name(card, given)
        context = given.context or card.context
        if context is None:
            raise EngineError(f"{given.url} does not say how many tokens fit.", hint="Set the option context.")
        dialect = _learn(client, given.url, name, renderer.stop_ids)
    except httpx.TransportError as error:
        client.close()
        hint = "Is it running? See the option url."
        raise EngineError(f"Nothing answers at {given.url}: {error}.", hint=hint) from error
    except BaseException:
        client.close()
        raise
    model = RemoteModel(
        codec=renderer,
        vocabulary=int(json.loads((base_path / "config.json").read_text())["vocab_size"]),
        context=context,
        precision=given.precision,
        dialect=dialect,
        headers=given.headers,
        timeout_seconds=given.timeout_seconds,
        backend="openai",
        offered=_SHAPING if dialect.extras and dialect.naming == "token_id" else (),
    )
    return RemoteEngine(_Endpoint(client, given.url, name, base.digest), model)


class _Endpoint:
    """The one server, and the adapters it has been seen to serve under their digests."""

    def __init__(self, client: httpx.Client, url: str, name: str, base_digest: str) -> None:
        self._client = client
        self._url = url
        self._name = name
        self._base_digest = base_digest

    def pick(self, adapter: str | None, tried: set[str]) -> Target | None:
        """Itself, once."""
        return None if self._url in tried else Target(self._url, adapter or self._name)

    def lost(self, target: Target, *, reachable: bool) -> None:
        """There is no other to go to."""

    def refresh(self) -> None:
        """It is asked anew each time."""

    def load(self, digest: str, path: Path) -> None:
        """Raises ModelError unless the folder is what it claims and the endpoint lists a model of that name."""
        require_identity(digest, path, self._base_digest)
        try:
            names = card_of(self._client, self._url).names
        except httpx.TransportError as error:
            raise EngineError(f"Nothing answers at {self._url}: {error}.") from error
        if digest not in names:
            raise ModelError(
                f"{self._url} serves no model called {digest}, and this backend loads nothing there.",
                hint="Load the adapter there under its digest, or use the backend vllm, which does.",
            )

    def unload(self, digest: str) -> None:
        """What the endpoint serves is its own affair."""

    def close(self) -> None:
        """Leave it alone."""
        self._client.close()


def _name(card: Card, given: Given) -> str:
    if given.model is None:
        return card.base
    if given.model not in card.names:
        close = nearest(given.model, card.names)
        meant, known = f"Did you mean {close!r}? " if close else "", ", ".join(sorted(card.names))
        raise ModelError(f"{given.url} serves no model called {given.model!r}.", hint=f"{meant}It has: {known}")
    return given.model


def _learn(client: httpx.Client, url: str, name: str, stop_ids: frozenset[int]) -> Dialect:
    """Ask for one token, with the fields beyond OpenAI's and, where they are refused, without."""
    request = GenerationRequest(prompt_ids=(1, 2, 3), sampling=Sampling(max_tokens=1))
    refused = ""
    for extras in (True, False):
        body = generation_body(request, name, stop_ids, extras)
        response = client.post(f"{url}/completions", json=body)
        if response.status_code == httpx.codes.OK:
            dialect = dialect_of(_choices(response.content), extras=extras, scores=_scores(client, url, name, extras))
            if dialect is not None:
                return dialect
            raise EngineError(
                f"{url} does not say which tokens it chose, with their log-probabilities, so it cannot be an engine.",
                hint="It must offer return_tokens_as_token_ids (vLLM) or logprobs.content[].id (llama.cpp).",
            )
        refused = refusal(response.status_code, response.content)
    raise EngineError(
        f"{url}/completions does not take a prompt of token ids: it answers {refused}",
        hint="Prompts are rendered here, so the endpoint must take them as token ids.",
    )


def _scores(client: httpx.Client, url: str, name: str, extras: bool) -> bool:
    """Whether the endpoint gives the log-probabilities of a prompt."""
    response = client.post(f"{url}/completions", json=score_body((1, 2, 3), name, extras))
    if response.status_code != httpx.codes.OK:
        return False
    try:
        return all(isinstance(one, float) for one in scores(response.json(), 3)[1:])
    except (EngineError, ValueError, KeyError, IndexError):
        return False


def _choices(content: bytes) -> list[dict[str, Any]]:
    """The choices of all documents of a stream that is over."""
    documents = (line[5:].strip() for line in content.split(b"\n") if line.startswith(b"data:"))
    parsed = [json.loads(document) for document in documents if document != b"[DONE]"]
    return [choice for document in parsed for choice in document.get("choices") or ()]
