"""What every engine checks before a request reaches it, so that a bad request disturbs nobody else."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tunesmith.engine.engine import GenerationRequest
from tunesmith.errors import EngineError, RequestTooLong

__all__ = ["check_request", "check_score"]


def check_request(request: GenerationRequest, *, adapters: Collection[str], vocabulary: int, context: int) -> None:
    """Raise EngineError unless the request can be served: known adapter, valid ids, room for prompt and answer."""
    _check(request.prompt_ids, request.adapter, adapters, vocabulary)
    needed = len(request.prompt_ids) + request.sampling.max_tokens
    if needed > context:
        raise RequestTooLong(
            f"The prompt has {len(request.prompt_ids)} tokens and the answer may have {request.sampling.max_tokens}: "
            f"{needed} together, and this engine's limit is {context}."
        )


def check_score(
    prompt_ids: Sequence[int],
    answer_ids: Sequence[int],
    adapter: str | None,
    *,
    adapters: Collection[str],
    vocabulary: int,
    context: int,
) -> None:
    """Raise EngineError unless the answer can be scored."""
    _check(prompt_ids, adapter, adapters, vocabulary)
    _check_ids(answer_ids, vocabulary)
    if len(prompt_ids) + len(answer_ids) > context:
        needed = len(prompt_ids) + len(answer_ids)
        raise RequestTooLong(f"Prompt and answer have {needed} tokens, and this engine's limit is {context}.")


def _check(prompt_ids: Sequence[int], adapter: str | None, adapters: Collection[str], vocabulary: int) -> None:
    if adapter is not None and adapter not in adapters:
        raise EngineError(f"The adapter {adapter!r} is not loaded.", hint=f"Loaded: {', '.join(adapters) or 'none'}")
    if not prompt_ids:
        raise EngineError("The prompt has no tokens.")
    _check_ids(prompt_ids, vocabulary)


def _check_ids(ids: Sequence[int], vocabulary: int) -> None:
    if ids and not 0 <= min(ids) <= max(ids) < vocabulary:
        raise EngineError(f"Token ids must be from 0 to {vocabulary - 1}; found {min(ids)} to {max(ids)}.")
