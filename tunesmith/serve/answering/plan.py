"""From what is asked to generation requests: system prompt, token ids, limits, sampling, constraint.

A release answers as it was evaluated unless the request says otherwise: with the system prompt it was trained with when
the request has no system or developer message of its own, greedily when no temperature is given, and up to the
release's `max_new_tokens`. The base model has OpenAI's defaults: temperature 1, up to the context.
"""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.engine.calls import CallParser
from tunesmith.engine.engine import Constraint, GenerationRequest, Sampling
from tunesmith.errors import RequestRefused
from tunesmith.serve.answering.ask import Ask
from tunesmith.serve.answering.grammar import constraints_of
from tunesmith.serve.catalogue import Served
from tunesmith.serve.failures import ApiError, invalid
from tunesmith.serve.service import Service
from tunesmith.types.conversation import Message
from tunesmith.types.tool_syntax import ToolSyntax

__all__ = ["Plan", "answer_length", "plan", "sampling_of"]


class Plan(NamedTuple):
    """What is to be generated: the model, the prompt's ids, one sampling per choice, and the constraints of which the
    first that the engine takes is used. `syntax` is that of the calls that may come.
    """

    ask: Ask
    served: Served
    prompt_ids: tuple[int, ...]
    samplings: tuple[Sampling, ...]
    constraints: tuple[Constraint | None, ...]
    syntax: ToolSyntax | None

    def requests(self, adapter: str | None, constraint: Constraint | None) -> list[GenerationRequest]:
        """One generation per choice."""
        return [
            GenerationRequest(
                prompt_ids=self.prompt_ids,
                adapter=adapter,
                sampling=one if constraint is None else one.model_copy(update={"constraint": constraint}),
            )
            for one in self.samplings
        ]

    def parser(self) -> CallParser | None:
        """What reads the calls of one choice; None when none may come."""
        names = [tool.name for tool in self.ask.callable]
        return CallParser(self.syntax, names) if self.syntax is not None and names else None

    def refusal(self, error: RequestRefused) -> ApiError:
        """The engine's refusal in the words of the endpoint."""
        if error.field != "constraint":
            return invalid(error.message, error.field)
        if self.ask.form is not None or not self.ask.callable:
            return invalid(error.message, self.ask.fields.form)
        forced = self.ask.choice.mode in ("required", "named")
        by_choice = forced and not any(tool.strict for tool in self.ask.callable)
        return invalid(error.message, self.ask.fields.choice if by_choice else self.ask.fields.tools)


def plan(service: Service, served: Served, ask: Ask) -> Plan:
    """Everything but the constraint that can be wrong with a question is found here, before the first byte.

    Raises ApiError 400 `context_length_exceeded` and others, or RenderingError for messages that the template cannot
    carry.
    """
    syntax = service.renderer.tool_syntax if ask.callable else None
    if ask.callable and syntax is None:
        raise invalid(
            "This model's chat template writes tool calls in a form that cannot be read, so it takes no tools.",
            ask.fields.tools,
        )
    prompt_ids = service.renderer.prompt_ids(_messages(served, ask), ask.offered)
    length = answer_length(service, served, len(prompt_ids), ask.max_tokens, ask.fields.prompt)
    sampling = sampling_of(ask, served, length)
    seeds = [None if ask.seed is None else (ask.seed + choice) % 2**63 for choice in range(ask.n)]
    samplings = tuple(sampling.model_copy(update={"seed": seed}) for seed in seeds)
    return Plan(ask, served, prompt_ids, samplings, constraints_of(ask, syntax), syntax)


def answer_length(service: Service, served: Served, prompt: int, asked: int | None, field: str) -> int:
    """Most tokens of the answer. Raises ApiError 400 when a prompt of `prompt` tokens leaves no room for it."""
    context = service.engine.context_length
    room = context - prompt
    if room < 1 or (asked or 0) > room:
        wanted = f" and {asked} for the answer" if asked else ""
        raise invalid(
            f"This model's maximum context length is {context} tokens. The request needs {prompt} tokens for the "
            f"{field}{wanted}. Shorten the {field} or the answer.",
            field,
            "context_length_exceeded",
        )
    return asked or (min(served.release.max_new_tokens, room) if served.release else room)


def sampling_of(ask: Ask, served: Served, length: int) -> Sampling:
    """The sampling of one choice, without seed and constraint."""
    usual_temperature = 0.0 if served.release else 1.0
    return Sampling(
        max_tokens=length,
        temperature=usual_temperature if ask.temperature is None else ask.temperature,
        top_p=1.0 if ask.top_p is None else ask.top_p,
        stop=ask.stop,
        top_logprobs=ask.top_logprobs,
        frequency_penalty=ask.frequency_penalty,
        presence_penalty=ask.presence_penalty,
        logit_bias=ask.logit_bias,
    )


def _messages(served: Served, ask: Ask) -> list[Message]:
    system = served.release.system_prompt if served.release else None
    if system is None or any(message.role in ("system", "developer") for message in ask.messages):
        return list(ask.messages)
    return [Message(role="system", content=system), *ask.messages]
