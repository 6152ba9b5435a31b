"""What every engine checks before a request reaches it, so that a bad request disturbs nobody else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.errors import EngineError, RequestRefused, RequestTooLong

__all__ = ["SHAPING", "Capacity", "check_offered", "check_request", "check_score"]

SHAPING = ("frequency_penalty", "presence_penalty", "logit_bias", "constraint")
"""Fields of `Sampling` that not every engine can do."""


class Capacity(NamedTuple):
    """What an engine can take: its loaded adapters, each with the virtual tokens it puts in front of every prompt, the
    size of its vocabulary and the most tokens of prompt and answer together.
    """

    adapters: Mapping[str, int]
    vocabulary: int
    context: int

    def context_of(self, adapter: str | None) -> int:
        """Most real tokens under `adapter`."""
        return self.context - (self.adapters[adapter] if adapter is not None else 0)


def check_request(request: GenerationRequest, capacity: Capacity) -> None:
    """Raise EngineError unless the request can be served: known adapter, valid ids, room for prompt and answer."""
    _check(request.prompt_ids, request.adapter, capacity)
    unknown = [token for token in request.sampling.logit_bias if not 0 <= token < capacity.vocabulary]
    if unknown:
        raise RequestRefused(
            f"logit_bias names the token {unknown[0]}; token ids are from 0 to {capacity.vocabulary - 1}.",
            field="logit_bias",
        )
    needed, context = len(request.prompt_ids) + request.sampling.max_tokens, capacity.context_of(request.adapter)
    if needed > context:
        raise RequestTooLong(
            f"The prompt has {len(request.prompt_ids)} tokens and the answer may have {request.sampling.max_tokens}: "
            f"{needed} together, and {_the_limit(context, capacity)}."
        )


def check_offered(sampling: Sampling, offered: Collection[str], backend: str) -> None:
    """Raise RequestRefused when `sampling` uses one of `SHAPING` that is not among those `offered` by `backend`."""
    for field in SHAPING:
        if field not in offered and getattr(sampling, field):
            raise RequestRefused(f"The {backend} backend does not do {field}.", field=field)


def check_score(prompt_ids: Sequence[int], answer_ids: Sequence[int], adapter: str | None, capacity: Capacity) -> None:
    """Raise EngineError unless the answer can be scored."""
    _check(prompt_ids, adapter, capacity)
    _check_ids(answer_ids, capacity.vocabulary)
    needed, context = len(prompt_ids) + len(answer_ids), capacity.context_of(adapter)
    if needed > context:
        raise RequestTooLong(f"Prompt and answer have {needed} tokens, and {_the_limit(context, capacity)}.")


def _the_limit(context: int, capacity: Capacity) -> str:
    virtual = capacity.context - context
    less = f" less the adapter's {virtual} virtual tokens" if virtual else ""
    return f"this engine's limit is {capacity.context}{less}"


def _check(prompt_ids: Sequence[int], adapter: str | None, capacity: Capacity) -> None:
    if adapter is not None and adapter not in capacity.adapters:
        loaded = ", ".join(capacity.adapters) or "none"
        raise EngineError(f"The adapter {adapter!r} is not loaded.", hint=f"Loaded: {loaded}")
    if not prompt_ids:
        raise RequestRefused("The prompt has no tokens.")
    _check_ids(prompt_ids, capacity.vocabulary)


def _check_ids(ids: Sequence[int], vocabulary: int) -> None:
    if ids and not 0 <= min(ids) <= max(ids) < vocabulary:
        raise RequestRefused(
            f"Token ids must be from 0 to {vocabulary - 1}; found {min(ids)} to {max(ids)}.", field="prompt"
        )
