"""The /v1/completions protocol with prompts as token ids: what is asked, and which tokens an answer says it has.

Endpoints name the tokens they chose in one of two ways:

    token_id   strings "token_id:N" in `logprobs.tokens` and `top_logprobs` (vLLM's way, asked for by
               `return_tokens_as_token_ids`)
    content    `logprobs.content[].id` with `top_logprobs[].id` (llama.cpp's server)
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tunesmith.engine.backends._grammar import WHITE_SPACE
from tunesmith.engine.engine import Constraint, GenerationRequest, Sampling, ScoredToken, TokenLogprob
from tunesmith.errors import EngineError

__all__ = [
    "Dialect",
    "Naming",
    "Told",
    "dialect_of",
    "events",
    "generation_body",
    "score_body",
    "scored_tokens",
    "scores",
    "told",
]

Naming = Literal["token_id", "content"]
_PREFIX = "token_id:"


class Dialect(NamedTuple):
    """How an endpoint speaks.

    naming: how it names tokens. extras: whether it takes the request fields that OpenAI's API does not have.
    late: whether the end is only told after the last token. scores: whether it can score a given answer.
    """

    naming: Naming
    extras: bool
    late: bool
    scores: bool


class Told(NamedTuple):
    """A token that the endpoint chose, its natural-log probability and its best rivals, best first."""

    token_id: int
    logprob: float
    top: tuple[TokenLogprob, ...]


def generation_body(request: GenerationRequest, model: str, stop_ids: frozenset[int], extras: bool) -> dict[str, Any]:
    """The JSON body of a streamed answer.

    The server is told where to stop so that it computes nothing in vain; text and stops are decided here. What the
    base's own generation_config.json would set is set back to nothing.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(request.prompt_ids),
        "stream": True,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "logprobs": max(1, sampling.top_logprobs),
        **_optional(sampling),
    }
    if extras:
        body |= {
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "stop_token_ids": sorted(stop_ids),
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
        }
    return body


def _optional(sampling: Sampling) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if sampling.seed is not None:
        found["seed"] = sampling.seed
    if stop := [text for text in sampling.stop if text]:
        found["stop"] = stop
    for name in ("frequency_penalty", "presence_penalty"):
        if value := getattr(sampling, name):
            found[name] = value
    if sampling.logit_bias:
        found["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if sampling.constraint is not None:
        found["structured_outputs"] = _structured(sampling.constraint)
    return found


def _structured(constraint: Constraint) -> dict[str, Any]:
    """vLLM's field for a constraint. White space in JSON is limited as it is limited here."""
    if constraint.kind == "regex":
        return {"regex": constraint.source}
    if constraint.kind == "lark":
        return {"grammar": constraint.source}
    schema = json.loads(constraint.source) if constraint.kind == "json_schema" else {"type": "object"}
    own = {"whitespace_pattern": WHITE_SPACE, "lenient": False, "coerce_one_of": False}
    return {"json": {**schema, "x-guidance": own} if isinstance(schema, dict) else schema}


def score_body(token_ids: Sequence[int], model: str, extras: bool, top: int = 0) -> dict[str, Any]:
    """The JSON body that asks for the log-probabilities of given tokens, with the `top` likeliest at their places, and
    for none of its own.
    """
    body = {"model": model, "prompt": list(token_ids), "max_tokens": 0, "echo": True, "logprobs": top, "temperature": 0}
    return body | ({"return_tokens_as_token_ids": True} if extras else {})


def scores(answer: Mapping[str, Any], expected: int) -> tuple[float | None, ...]:
    """Log-probability of each of the `expected` tokens (None: the first, which nothing stands before)."""
    logprobs = (_choice(answer).get("logprobs") or {}).get("token_logprobs") or []
    if len(logprobs) < expected:
        raise EngineError(f"The endpoint scored {len(logprobs)} of {expected} tokens.")
    return tuple(logprobs[:expected])


def scored_tokens(answer: Mapping[str, Any], expected: int, top: int) -> tuple[ScoredToken, ...]:
    """Each of the `expected` tokens but the first, with the `top` likeliest at its place."""
    logprobs = [one for one in scores(answer, expected)[1:] if one is not None]
    if not top:
        return tuple(ScoredToken(logprob) for logprob in logprobs)
    likeliest = (_choice(answer).get("logprobs") or {}).get("top_logprobs") or []
    if len(likeliest) < expected:
        raise EngineError(f"The endpoint told the likeliest tokens at {len(likeliest)} of {expected} places.")
    return tuple(
        ScoredToken(logprob, _best(((_id(name), value) for name, value in place.items()), top))
        for logprob, place in zip(logprobs, likeliest[1:expected], strict=True)
    )


def told(choice: Mapping[str, Any], dialect: Dialect, count: int) -> Iterator[Told]:
    """The tokens of one streamed piece, each with its `count` best rivals."""
    logprobs = choice.get("logprobs")
    if not logprobs:
        return
    if dialect.naming == "content":
        for one in logprobs.get("content") or ():
            rivals = ((rival["id"], rival["logprob"]) for rival in one.get("top_logprobs") or ())
            yield Told(int(one["id"]), float(one["logprob"]), _best(rivals, count))
        return
    for token, logprob, rivals in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        yield Told(_id(token), float(logprob), _best(((_id(name), one) for name, one in rivals.items()), count))


def dialect_of(pieces: Sequence[Mapping[str, Any]], *, extras: bool, scores: bool) -> Dialect | None:
    """The dialect of an answer of one token, from its pieces; None when it does not say which token it chose."""
    for choice in pieces:
        logprobs = choice.get("logprobs") or {}
        late = choice.get("finish_reason") is None
        if any(isinstance(one.get("id"), int) for one in logprobs.get("content") or ()):
            return Dialect("content", extras, late, scores)
        if any(str(token).startswith(_PREFIX) for token in logprobs.get("tokens") or ()):
            return Dialect("token_id", extras, late, scores)
    return None


async def events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON documents of a stream of server-sent events, up to [DONE].

    Lines end at line feeds alone: text in the JSON may hold characters that Python also takes for line ends. Raises
    EngineError for an error that the server tells in the stream, ConnectionError when the stream breaks off.
    """
    buffer = b""
    async for piece in pieces:
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            document = json.loads(data)
            if error := document.get("error"):
                raise EngineError(f"The endpoint says: {error.get('message', error)}")
            yield document
    raise ConnectionError("the stream broke off before its end")


def _choice(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document["choices"][0]
    return found


def _id(token: str) -> int:
    if not token.startswith(_PREFIX):
        raise EngineError(f"The endpoint names a token {token!r} without its id.")
    return int(token.removeprefix(_PREFIX))


def _best(rivals: Iterator[tuple[int, float]], count: int) -> tuple[TokenLogprob, ...]:
    ranked = sorted(rivals, key=lambda one: (-one[1], one[0]))[:count]
    return tuple(TokenLogprob(token_id=token, logprob=logprob) for token, logprob in ranked)
