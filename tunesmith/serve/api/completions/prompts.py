"""The prompts of a completion request as generations: token ids, text, and the log-probabilities of the prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from tunesmith.engine.engine import GenerationRequest, Sampling, ScoredToken, TokenEvent, TokenLogprob
from tunesmith.serve.answering.plan import answer_length, sampling_of
from tunesmith.serve.api.completions.protocol import CompletionLogprobs, CompletionRequest
from tunesmith.serve.catalogue import Served
from tunesmith.serve.failures import invalid
from tunesmith.serve.service import PromptRenderer, Service

__all__ = ["Prompt", "Prompts", "logprobs_of", "prompt_logprobs", "prompts_of"]

# JSON has no -inf; OpenAI gives this for tokens that cannot be.
_LOWEST_LOGPROB = -9999.0


class Prompt(NamedTuple):
    """A prompt's token ids and its text."""

    ids: tuple[int, ...]
    text: str


class Prompts(NamedTuple):
    """What is to be generated: for each prompt as many answers as there are `samplings`."""

    served: Served
    prompts: tuple[Prompt, ...]
    samplings: tuple[Sampling, ...]

    def requests(self, adapter: str | None) -> list[GenerationRequest]:
        """One generation per answer, prompt by prompt."""
        return [
            GenerationRequest(prompt_ids=prompt.ids, adapter=adapter, sampling=sampling)
            for prompt in self.prompts
            for sampling in self.samplings
        ]


async def prompts_of(service: Service, request: CompletionRequest, project: str) -> Prompts:
    """Everything that can be wrong with the request is found here; in a thread, as prompts may be long.

    Raises ApiError 404 for a model that `project` does not see, 400 for prompts that do not fit.
    """
    return await asyncio.to_thread(_prompts_of, service, request, project)


def _prompts_of(service: Service, request: CompletionRequest, project: str) -> Prompts:
    served = service.catalogue.find(request.model, project)
    prompts = tuple(_prompt(service, given) for given in request.prompts)
    for prompt in prompts:
        answer_length(service, served, len(prompt.ids), request.length, "prompt")
    ask = request.as_ask()
    sampling = sampling_of(ask, served, max(1, request.length))
    count = max(request.n or 1, request.best_of or 1)
    seeds = [None if ask.seed is None else (ask.seed + place) % 2**63 for place in range(count)]
    samplings = tuple(sampling.model_copy(update={"seed": seed}) for seed in seeds) if request.length else ()
    return Prompts(served, prompts, samplings)


def _prompt(service: Service, given: str | list[int]) -> Prompt:
    if not isinstance(given, str):
        return Prompt(tuple(given), service.renderer.decode(given))
    ids = service.renderer.text_ids(given)
    if not ids:
        raise invalid("An empty prompt has no tokens to continue with this model.", "prompt")
    return Prompt(ids, given)


async def prompt_logprobs(service: Service, prompt: Prompt, adapter: str | None, top: int) -> CompletionLogprobs:
    """Those of the prompt's own tokens, with the `top` likeliest; nothing stands before the first."""
    renderer = service.renderer
    scored = await service.engine.score_with_top(prompt.ids[:1], prompt.ids[1:], adapter, top)
    tokens = [renderer.decode((token,)) for token in prompt.ids]
    likeliest = (_likeliest(renderer, token, one) for token, one in zip(prompt.ids[1:], scored, strict=True))
    return CompletionLogprobs(
        tokens=tuple(tokens),
        token_logprobs=(None, *(max(one.logprob, _LOWEST_LOGPROB) for one in scored)),
        top_logprobs=(None, *likeliest) if top else None,
        text_offset=_offsets(tokens, 0),
    )


def logprobs_of(
    events: Sequence[TokenEvent], renderer: PromptRenderer, start: int, *, with_top: bool
) -> CompletionLogprobs:
    """Those of an answer's tokens, its end-of-turn token among them; `start` is where its text begins."""
    tokens = [renderer.decode((event.token_id,)) for event in events]
    ends = (event.token_id in renderer.stop_ids for event in events)
    names = (renderer.piece(event.token_id) if end else t for event, t, end in zip(events, tokens, ends, strict=True))
    likeliest = (_likeliest(renderer, event.token_id, ScoredToken(event.logprob, event.top)) for event in events)
    return CompletionLogprobs(
        tokens=tuple(names),
        token_logprobs=tuple(max(event.logprob, _LOWEST_LOGPROB) for event in events),
        top_logprobs=tuple(likeliest) if with_top else None,
        text_offset=_offsets(tokens, start),
    )


def _likeliest(renderer: PromptRenderer, token: int, scored: ScoredToken) -> dict[str, float]:
    """The likeliest tokens by their text and the token itself, best first; none takes the place of another that looks
    the same, such as parts of a character.
    """
    shown = list(scored.top)
    if all(one.token_id != token for one in shown):
        shown.append(TokenLogprob(token_id=token, logprob=scored.logprob))
    found: dict[str, float] = {}
    for one in shown:
        text = renderer.piece(one.token_id)
        found[f"token_id:{one.token_id}" if text in found else text] = max(one.logprob, _LOWEST_LOGPROB)
    return found


def _offsets(tokens: Sequence[str], start: int) -> tuple[int, ...]:
    places = [start]
    for token in tokens:
        places.append(places[-1] + len(token))
    return tuple(places[:-1])
