"""Does an engine compute what was trained? Greedy answers to fixed prompts, compared token by token.

Two programs that do the same sums in another order differ by rounding, so log-probabilities agree within a stated bound
b, and a token is *decided* where the best candidate leads the next by more than 2 b: no pair of programs within the
bound can choose differently there, so decided tokens must be equal. An answer is compared up to its first undecided
token, with the candidates of that step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tunesmith.engine.engine import Engine, GenerationRequest, Sampling
from tunesmith.errors import ModelError
from tunesmith.types.conversation import Message
from tunesmith.types.parity import Agreement, Candidate, ParityCertificate, Reading

__all__ = ["BOUNDS", "CANDIDATES", "TOKENS", "agree", "bound_of", "fixed_prompts", "read_engine", "require_parity"]

TOKENS = 8
CANDIDATES = 10
COMPARED = 5

BOUNDS: Mapping[str, float] = MappingProxyType({"float32": 0.01, "float16": 0.05, "bfloat16": 0.75})
"""Precision -> largest difference of two log-probabilities, in natural-log units, that rounding explains."""

_QUESTIONS = (
    "What is the capital of France?",
    "Answer with yes or no: is 17 a prime number?",
    "भारत की राजधानी क्या है?",
    'Complete the line: {"name": "Ada", "born": ',
)


def fixed_prompts(system_prompt: str | None) -> tuple[tuple[Message, ...], ...]:
    """The conversations whose answers are compared, with the system prompt that the release gives its requests."""
    system = (Message(role="system", content=system_prompt),) if system_prompt else ()
    return tuple((*system, Message(role="user", content=question)) for question in _QUESTIONS)


def bound_of(*precisions: str | None) -> float:
    """The bound between computations in these precisions: that of the coarsest; one that is not known is bfloat16."""
    return max(BOUNDS.get(precision or "", BOUNDS["bfloat16"]) for precision in precisions)


async def read_engine(engine: Engine, prompts: Sequence[tuple[int, ...]], adapter: str | None) -> tuple[Reading, ...]:
    """What the engine answers to all prompts at once under `adapter`."""

    async def read(prompt_ids: tuple[int, ...]) -> Reading:
        sampling = Sampling(max_tokens=TOKENS, temperature=0.0, top_logprobs=CANDIDATES)
        request = GenerationRequest(prompt_ids=prompt_ids, adapter=adapter, sampling=sampling)
        events = [event async for event in engine.submit(request)]
        return Reading(
            prompt_ids=prompt_ids,
            token_ids=tuple(event.token_id for event in events),
            steps=tuple(
                tuple(Candidate(token_id=one.token_id, logprob=one.logprob) for one in event.top) for event in events
            ),
        )

    return tuple(await asyncio.gather(*(read(prompt) for prompt in prompts)))


def agree(reader: str, trained: Sequence[Reading], found: Sequence[Reading], bound: float) -> Agreement:
    """Compare what `reader` found with the trainer's readings.

    Raises ModelError when a prompt's or a decided token's id differs, or a log-probability by more than `bound`.
    """
    tokens = logprobs = 0
    largest = 0.0
    for number, (ours, theirs) in enumerate(zip(trained, found, strict=True), start=1):
        where = f"prompt {number} of {len(trained)}"
        if ours.prompt_ids != theirs.prompt_ids:
            raise ModelError(f"The {reader} reads other token ids than the trainer in {where}.")
        for step, expected in enumerate(ours.steps):
            difference = _difference(expected, theirs.steps[step] if step < len(theirs.steps) else ())
            logprobs += len(expected[:COMPARED])
            largest = max(largest, difference)
            if not difference <= bound:
                raise ModelError(
                    f"The {reader} does not compute what was trained: in {where}, at answer token {step + 1}, a "
                    f"log-probability differs by {difference:.3g}; the bound is {bound:g}."
                )
            if not _decided(expected, bound):
                break
            if ours.token_ids[step] != theirs.token_ids[step]:
                raise ModelError(
                    f"The {reader} does not compute what was trained: in {where}, answer token {step + 1} is "
                    f"{theirs.token_ids[step]} and the trainer's is {ours.token_ids[step]}."
                )
            tokens += 1
    return Agreement(reader=reader, prompts=len(trained), tokens=tokens, logprobs=logprobs, largest_difference=largest)


async def require_parity(certificate: ParityCertificate, engine: Engine) -> Agreement | None:
    """Ask the engine, which has the adapter loaded, the certificate's prompts again; None for one without weights.

    Raises ModelError when its numbers differ from the trainer's by more than the bound, which is the certificate's or,
    where the engine computes in a coarser precision, that one's.
    """
    if engine.precision is None:
        return None
    prompts = [reading.prompt_ids for reading in certificate.readings]
    found = await read_engine(engine, prompts, certificate.adapter_digest)
    bound = max(certificate.bound, bound_of(engine.precision))
    return agree(f"server ({engine.precision})", certificate.readings, found, bound)


def _difference(expected: Sequence[Candidate], got: Sequence[Candidate]) -> float:
    """Largest difference over the trainer's best candidates.

    A candidate that the other does not name is at most as likely as its least likely one, which bounds the difference
    from below. No candidates at all agree with nothing.
    """
    if not got:
        return float("inf")
    named = {candidate.token_id: candidate.logprob for candidate in got}
    least = min(named.values())
    gaps = [
        abs(one.logprob - named[one.token_id]) if one.token_id in named else max(0.0, one.logprob - least)
        for one in expected[:COMPARED]
    ]
    return max(gaps)


def _decided(candidates: Sequence[Candidate], bound: float) -> bool:
    return len(candidates) < 2 or candidates[0].logprob - candidates[1].logprob > 2 * bound
