"""Vectors of texts: the model's last hidden states, averaged over the tokens and scaled to length 1."""

from __future__ import annotations

import asyncio
import base64

import numpy as np

from tunesmith.serve.api.embeddings.protocol import Embedding, EmbeddingList, EmbeddingRequest, EmbeddingUsage
from tunesmith.serve.failures import invalid
from tunesmith.serve.service import Service

__all__ = ["embed"]

_MOST_TOKENS = 300_000


async def embed(service: Service, project: str, request: EmbeddingRequest) -> EmbeddingList:
    """One vector for each input. Raises ApiError 404 for an unknown model, 400 for what is too long or too many."""
    found, tokens = await _vectors(service, project, request)
    shown = [_shortened(vector, request.dimensions) for vector in found]
    return EmbeddingList(
        data=tuple(
            Embedding(index=index, embedding=_written(vector, request.encoding_format))
            for index, vector in enumerate(shown)
        ),
        model=request.model,
        usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
    )


async def _vectors(service: Service, project: str, request: EmbeddingRequest) -> tuple[list[tuple[float, ...]], int]:
    """One vector of length 1 for each input, and the number of tokens of all."""
    served = await asyncio.to_thread(service.catalogue.find, request.model, project)
    prompts = await asyncio.to_thread(lambda: [_ids(service, given) for given in request.inputs()])
    _check_lengths(service, prompts)
    async with service.shelf.use(served.release) as adapter:
        found = await asyncio.gather(*(service.engine.embed(prompt, adapter) for prompt in prompts))
    return found, sum(map(len, prompts))


def _ids(service: Service, given: str | list[int]) -> tuple[int, ...]:
    return service.renderer.text_ids(given) if isinstance(given, str) else tuple(given)


def _check_lengths(service: Service, prompts: list[tuple[int, ...]]) -> None:
    limit = service.engine.context_length
    for index, prompt in enumerate(prompts):
        if len(prompt) > limit:
            raise invalid(
                f"This model's maximum context length is {limit} tokens, and input {index} has {len(prompt)}. "
                "Shorten it or embed its parts.",
                "input",
                "context_length_exceeded",
            )
    if (total := sum(map(len, prompts))) > _MOST_TOKENS:
        raise invalid(f"A request may have {_MOST_TOKENS} tokens in all inputs together; this has {total}.", "input")


def _shortened(vector: tuple[float, ...], dimensions: int | None) -> np.ndarray:
    whole = np.asarray(vector, dtype=np.float64)
    if dimensions is None:
        return whole
    if dimensions > len(whole):
        raise invalid(f"This model's embeddings have {len(whole)} dimensions, not {dimensions}.", "dimensions")
    part = whole[:dimensions]
    length = float(np.linalg.norm(part))
    return part / length if length else part


def _written(vector: np.ndarray, encoding: str | None) -> tuple[float, ...] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return tuple(vector.tolist())
