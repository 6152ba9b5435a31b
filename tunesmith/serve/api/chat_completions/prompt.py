"""From a chat request to generation requests: system prompt, token ids, limits, sampling.

A release answers as it was evaluated unless the request says otherwise: with the system prompt it was trained with when
the request has no system or developer message of its own, greedily when no temperature is given, and up to the
release's `max_new_tokens`. The base model has OpenAI's defaults: temperature 1, up to the context.
"""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.serve.api.chat_completions.protocol import ChatRequest
from tunesmith.serve.catalogue import Served
from tunesmith.serve.failures import invalid
from tunesmith.serve.service import Service
from tunesmith.types.conversation import Message

__all__ = ["Plan", "plan"]


class Plan(NamedTuple):
    """What is to be generated: the model, the prompt's ids and one sampling per choice."""

    served: Served
    prompt_ids: tuple[int, ...]
    samplings: tuple[Sampling, ...]

    def requests(self, adapter: str | None) -> list[GenerationRequest]:
        """One generation per choice."""
        return [GenerationRequest(prompt_ids=self.prompt_ids, adapter=adapter, sampling=one) for one in self.samplings]


def plan(service: Service, served: Served, request: ChatRequest) -> Plan:
    """Everything that can be wrong with a request is found here, before the first byte of an answer.

    Raises ApiError 400 `context_length_exceeded`, or RenderingError for messages that the template cannot carry.
    """
    prompt_ids = service.renderer.prompt_ids(_messages(served, request))
    room = service.engine.context_length - len(prompt_ids)
    release = served.release
    asked = request.max_completion_tokens or request.max_tokens
    if room < 1 or (asked or 0) > room:
        wanted = f" and {asked} for the answer" if asked else ""
        raise invalid(
            f"This model's maximum context length is {service.engine.context_length} tokens. The request needs "
            f"{len(prompt_ids)} tokens for the messages{wanted}. Shorten the messages or the answer.",
            "messages",
            "context_length_exceeded",
        )
    usual_temperature = 0.0 if release else 1.0
    usual_length = min(release.max_new_tokens, room) if release else room
    sampling = Sampling(
        max_tokens=asked or usual_length,
        temperature=usual_temperature if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        stop=request.stops,
        top_logprobs=request.top_logprobs or 0,
    )
    seeds = [None if request.seed is None else (request.seed + choice) % 2**63 for choice in range(request.n or 1)]
    return Plan(served, prompt_ids, tuple(sampling.model_copy(update={"seed": seed}) for seed in seeds))


def _messages(served: Served, request: ChatRequest) -> list[Message]:
    messages = [message.as_message() for message in request.messages]
    system = served.release.system_prompt if served.release else None
    if system is None or any(message.role in ("system", "developer") for message in messages):
        return messages
    return [Message(role="system", content=system), *messages]
