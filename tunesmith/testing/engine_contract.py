"""What every inference engine must do, as checks that any backend (a third party's too) can be put through.

`CHECKS` are coroutines that take a `Subject` and raise AssertionError. They hold for engines with and without weights;
comparison with a reference implementation of a model is a backend's own test.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from typing import Any, cast

from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.errors import EngineError, ModelError, NotFound, RequestTooLong
from tunesmith.testing.engine_subject import Answer, Check, Subject, answer, refused, run_check
from tunesmith.testing.shaping_contract import SHAPING_CHECKS

__all__ = [
    "CHECKS",
    "Answer",
    "Subject",
    "adapters_are_what_they_claim",
    "adapters_come_and_go_beside_answers",
    "adapters_mix_in_a_batch",
    "adapters_say_what_they_weigh",
    "adapters_stay_while_held",
    "answer",
    "bad_requests_are_refused",
    "closing_ends_running_requests",
    "closing_the_iterator_cancels",
    "concurrent_answers_equal_single_ones",
    "length_ends_an_answer",
    "likeliest_tokens_agree_with_answers",
    "logprobs_agree_with_scoring",
    "run_check",
    "seeds_are_deterministic",
    "stop_strings_are_cut",
    "streams_events_with_one_end",
    "too_long_is_refused_alone",
]

_LOGPROB_TOLERANCE = 1e-3  # natural-log units, float32


async def streams_events_with_one_end(subject: Subject) -> None:
    """Each event is a token; only the last has a finish reason; the texts are the decoded tokens."""
    found = await answer(subject, subject.prompts[0])
    assert all(event.finish_reason is None for event in found.events[:-1])
    assert found.reason in ("stop", "length")
    assert found.text == subject.codec.decode(found.token_ids)
    assert all(math.isfinite(event.logprob) and event.logprob <= 0 for event in found.events)


async def length_ends_an_answer(subject: Subject) -> None:
    """max_tokens tokens and no more, with the reason `length`."""
    found = await answer(subject, subject.prompts[0], max_tokens=2)
    assert len(found.token_ids) == 2
    assert found.reason == "length"


async def stop_strings_are_cut(subject: Subject) -> None:
    """A stop string across token borders ends the answer, and neither it nor its beginning is sent."""
    whole = await answer(subject, subject.prompts[0])
    assert len(whole.text) >= 4, f"the prompt's answer {whole.text!r} is too short for this check"
    stop = whole.text[1:3]
    cut = await answer(subject, subject.prompts[0], stop=("never said", stop))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.reason == "stop"
    assert len(cut.token_ids) <= len(whole.token_ids)


async def concurrent_answers_equal_single_ones(subject: Subject) -> None:
    """Greedy answers do not depend on what else is being answered."""
    alone = [(await answer(subject, prompt)).token_ids for prompt in subject.prompts]
    together = await asyncio.gather(*(answer(subject, prompt) for prompt in [*subject.prompts, *subject.prompts]))
    assert [found.token_ids for found in together] == alone + alone


async def seeds_are_deterministic(subject: Subject) -> None:
    """The same seed gives the same answer, alone and beside others."""
    options: dict[str, Any] = {"temperature": 1.5, "top_p": 0.9, "seed": 7}
    alone = await answer(subject, subject.prompts[1], **options)
    beside = await asyncio.gather(
        answer(subject, subject.prompts[0], temperature=1.0, seed=7),
        answer(subject, subject.prompts[1], **options),
        answer(subject, subject.prompts[2]),
    )
    assert beside[1].token_ids == alone.token_ids


async def logprobs_agree_with_scoring(subject: Subject) -> None:
    """The log-probabilities streamed with an answer are those that scoring gives it, and the best leads `top`."""
    found = await answer(subject, subject.prompts[0], top_logprobs=1)
    scored = await subject.engine.score(subject.prompts[0], found.token_ids, None)
    assert len(scored) == len(found.token_ids)
    for event, score in zip(found.events, scored, strict=True):
        assert abs(event.logprob - score) < _LOGPROB_TOLERANCE
        assert event.top[0].token_id == event.token_id
        assert abs(event.top[0].logprob - event.logprob) < _LOGPROB_TOLERANCE
    assert await subject.engine.score(subject.prompts[0], (), None) == ()


async def likeliest_tokens_agree_with_answers(subject: Subject) -> None:
    """A greedy answer's tokens are the likeliest at their places, and another answer's are where they have the same
    log-probability to the last bit.
    """
    found = await answer(subject, subject.prompts[0])
    own = await subject.engine.score_with_top(subject.prompts[0], found.token_ids, None, 1)
    assert [one.top[0].token_id for one in own] == list(found.token_ids)
    assert all(one.logprob == one.top[0].logprob for one in own)
    other = await subject.engine.score_with_top(subject.prompts[0], subject.prompts[1], None, 1)
    plain = await subject.engine.score(subject.prompts[0], subject.prompts[1], None)
    assert len(other) == len(subject.prompts[1])
    for one, token, score in zip(other, subject.prompts[1], plain, strict=True):
        assert len(one.top) == 1
        assert abs(one.logprob - score) < _LOGPROB_TOLERANCE
        assert (one.top[0].token_id == token) == (one.logprob == one.top[0].logprob)
        assert one.logprob <= one.top[0].logprob
    assert all(not one.top for one in await subject.engine.score_with_top(subject.prompts[0], (3, 4), None, 0))
    assert await subject.engine.score_with_top(subject.prompts[0], (), None, 1) == ()


async def closing_the_iterator_cancels(subject: Subject) -> None:
    """A closed iterator frees its request; others and later ones are answered as before."""
    expected = await answer(subject, subject.prompts[1])
    request = GenerationRequest(prompt_ids=subject.prompts[0], sampling=Sampling(max_tokens=200, stop=("\0never",)))
    other = asyncio.create_task(answer(subject, subject.prompts[1]))
    async with aclosing(cast(Any, subject.engine.submit(request))) as events:
        async for _ in events:
            break
    assert (await other).token_ids == expected.token_ids
    assert (await answer(subject, subject.prompts[1])).token_ids == expected.token_ids


async def too_long_is_refused_alone(subject: Subject) -> None:
    """A request that can never fit is refused at once, and one that runs goes on."""
    running = asyncio.create_task(answer(subject, subject.prompts[0]))
    await asyncio.sleep(0)
    too_long = subject.prompts[0] * (subject.engine.context_length // len(subject.prompts[0]) + 1)
    refused(subject, GenerationRequest(prompt_ids=too_long), RequestTooLong)
    whole_context = Sampling(max_tokens=subject.engine.context_length)
    refused(subject, GenerationRequest(prompt_ids=subject.prompts[0], sampling=whole_context), RequestTooLong)
    assert (await running).token_ids == (await answer(subject, subject.prompts[0])).token_ids


async def bad_requests_are_refused(subject: Subject) -> None:
    """No tokens, tokens outside the vocabulary and adapters that are not loaded: EngineError at the call."""
    refused(subject, GenerationRequest(prompt_ids=()), EngineError)
    refused(subject, GenerationRequest(prompt_ids=(10**9,)), EngineError)
    refused(subject, GenerationRequest(prompt_ids=(-1,)), EngineError)
    refused(subject, GenerationRequest(prompt_ids=subject.prompts[0], adapter="0" * 64), EngineError)
    try:
        await subject.engine.score(subject.prompts[0], subject.prompts[1], "0" * 64)
    except EngineError:
        return
    raise AssertionError("scoring with an unknown adapter was not refused")


async def adapters_mix_in_a_batch(subject: Subject) -> None:
    """Requests with different adapters and none, answered together, equal single runs; unloading forgets."""
    for digest, path in subject.adapters.items():
        await subject.engine.load_adapter(digest, path)
    assert set(subject.engine.adapters()) == set(subject.adapters)
    choices: list[str | None] = [None, *subject.adapters]
    cases = [(prompt, adapter) for prompt in subject.prompts for adapter in choices]
    alone = [(await answer(subject, prompt, adapter=adapter)).token_ids for prompt, adapter in cases]
    together = await asyncio.gather(*(answer(subject, prompt, adapter=adapter) for prompt, adapter in cases))
    assert [found.token_ids for found in together] == alone
    gone = next(iter(subject.adapters))
    running = asyncio.create_task(answer(subject, subject.prompts[0], adapter=gone))
    await asyncio.sleep(0)
    await subject.engine.unload_adapter(gone)
    assert (await running).token_ids == alone[cases.index((subject.prompts[0], gone))]
    assert gone not in subject.engine.adapters()
    refused(subject, GenerationRequest(prompt_ids=subject.prompts[0], adapter=gone), EngineError)


async def adapters_come_and_go_beside_answers(subject: Subject) -> None:
    """Loading and unloading adapters changes no answer and no score of those that stay."""
    (first, path), *others = subject.adapters.items()
    await subject.engine.load_adapter(first, path)
    said = await answer(subject, subject.prompts[0], adapter=first)
    plain = await answer(subject, subject.prompts[0])
    score = await subject.engine.score(subject.prompts[0], said.token_ids, first)
    running = [asyncio.create_task(answer(subject, subject.prompts[0], adapter=name)) for name in (first, None) * 3]
    for digest, folder in others:
        await subject.engine.load_adapter(digest, folder)
        running.append(asyncio.create_task(answer(subject, subject.prompts[0], adapter=first)))
    for digest, _ in others:
        await subject.engine.unload_adapter(digest)
    for found in await asyncio.gather(*running):
        assert found.token_ids in (said.token_ids, plain.token_ids)
    again = await subject.engine.score(subject.prompts[0], said.token_ids, first)
    assert all(abs(old - new) < _LOGPROB_TOLERANCE for old, new in zip(score, again, strict=True))
    assert (await answer(subject, subject.prompts[0])).token_ids == plain.token_ids


async def adapters_say_what_they_weigh(subject: Subject) -> None:
    """`adapter_bytes` names exactly the loaded adapters, each with a number that is not negative."""
    assert subject.engine.adapter_bytes() == {}
    for digest, path in subject.adapters.items():
        await subject.engine.load_adapter(digest, path)
    found = subject.engine.adapter_bytes()
    assert tuple(found) == subject.engine.adapters()
    assert all(size >= 0 for size in found.values())


async def adapters_stay_while_held(subject: Subject) -> None:
    """Only a loaded adapter can be held; while it is held, loading others does not drop it."""
    (first, path), *others = subject.adapters.items()
    try:
        with subject.engine.hold(first):
            raise AssertionError("an adapter that is not loaded was held")
    except EngineError:
        await subject.engine.load_adapter(first, path)
    with subject.engine.hold(first):
        for digest, folder in others:
            await subject.engine.load_adapter(digest, folder)
        assert first in subject.engine.adapters()
        await answer(subject, subject.prompts[0], adapter=first)


async def adapters_are_what_they_claim(subject: Subject) -> None:
    """A folder with another digest is refused; unloading what is not loaded is NotFound."""
    path = next(iter(subject.adapters.values()))
    for action, error in (
        (subject.engine.load_adapter("f" * 64, path), ModelError),
        (subject.engine.unload_adapter("f" * 64), NotFound),
    ):
        try:
            await action
        except error:
            continue
        raise AssertionError(f"expected {error.__name__}")


async def closing_ends_running_requests(subject: Subject) -> None:
    """Requests that run when the engine closes end with EngineError, later ones are refused; closing twice is fine."""
    request = GenerationRequest(prompt_ids=subject.prompts[0], sampling=Sampling(max_tokens=100))
    events = subject.engine.submit(request)
    await anext(events)
    await subject.engine.close()
    await subject.engine.close()
    refused(subject, request, EngineError)
    try:
        async for event in events:
            if event.finish_reason is not None:
                return  # it was finished already when the engine closed
    except EngineError:
        return
    raise AssertionError("the request neither finished nor failed")


CHECKS: tuple[Check, ...] = (
    streams_events_with_one_end,
    length_ends_an_answer,
    stop_strings_are_cut,
    concurrent_answers_equal_single_ones,
    seeds_are_deterministic,
    logprobs_agree_with_scoring,
    likeliest_tokens_agree_with_answers,
    closing_the_iterator_cancels,
    too_long_is_refused_alone,
    bad_requests_are_refused,
    adapters_mix_in_a_batch,
    adapters_come_and_go_beside_answers,
    adapters_say_what_they_weigh,
    adapters_stay_while_held,
    adapters_are_what_they_claim,
    closing_ends_running_requests,
    *SHAPING_CHECKS,
)
