"""One item and one subject: all its turns, samples and scored options, taken from the kept answers where they are."""

from __future__ import annotations

from typing import Any, NamedTuple

from tunesmith.evaluate.answer_store import Kept
from tunesmith.evaluate.subject import Asked, Reply, Subject
from tunesmith.types.base import digest_json
from tunesmith.types.conversation import FunctionCall, Message, ToolCall
from tunesmith.types.report import Prediction
from tunesmith.types.suite import Item, Suite

__all__ = ["REFERENCE_METRICS", "Question", "ask_item", "failed", "reads_logprobs", "reads_reference"]

REFERENCE_METRICS = frozenset({"perplexity", "bits_per_byte"})
"""Metrics that read the log-probability of the reference."""


class Question(NamedTuple):
    """Who is asked, how, and where answers are kept; `score_reference` when a metric reads its log-probability."""

    subject: Subject
    suite: Suite
    kept: Kept | None
    score_reference: bool


def reads_reference(suite: Suite) -> bool:
    """Whether a metric of the suite reads the log-probability of the reference."""
    return any(spec.name in REFERENCE_METRICS for spec in suite.metrics)


def reads_logprobs(suite: Suite) -> bool:
    """Whether answers that are given (options, references) have to be scored."""
    return reads_reference(suite) or any(item.options for item in suite.items)


async def ask_item(question: Question, item: Item) -> Prediction:
    """The prediction, its label not read yet. Raises EvaluationError when an answer cannot be had."""
    suite = question.suite
    replies = [await _converse(question, item, _asked(suite, number)) for number in range(suite.samples)]
    first = replies[0]
    scored = [await _logprob(question, item, option) for option in item.options]
    # An answer that is to be scored is a text (not the letter of a choice) and follows the item's own messages.
    written = item.reference not in ("", item.expect.get("letter")) and not item.followups
    reference = await _logprob(question, item, item.reference) if question.score_reference and written else None
    return Prediction(
        example_id=item.id,
        reference=item.reference,
        answer=first.text.strip(),
        label=None,
        tokens=first.tokens,
        seconds=first.seconds,
        first_token_seconds=first.first_token_seconds,
        finish_reason=first.finish_reason,
        reference_logprob=None if reference is None else reference[0],
        reference_tokens=0 if reference is None else reference[1],
        prompt_tokens=first.prompt_tokens,
        calls=first.calls,
        samples=tuple(reply.text.strip() for reply in replies) if suite.samples > 1 else (),
        options=item.options,
        option_logprobs=tuple(found[0] for found in scored if found) if all(scored) else (),
        option_tokens=tuple(found[1] for found in scored if found) if all(scored) else (),
        token_logprobs=first.logprobs,
        expect=item.expect,
        tags=item.tags,
        group=item.group,
    )


def failed(item: Item, reason: str) -> Prediction:
    """The row of an item without an answer: unscored, with the reason."""
    return Prediction(
        example_id=item.id,
        reference=item.reference,
        answer="",
        label=None,
        tokens=0,
        seconds=0.0,
        first_token_seconds=0.0,
        finish_reason="error",
        options=item.options,
        expect=item.expect,
        tags=item.tags,
        group=item.group,
        error=reason,
    )


def _asked(suite: Suite, number: int) -> Asked:
    """How sample `number` is drawn; a greedy answer has no seed."""
    seed = suite.seed + number if suite.temperature > 0 else None
    return Asked(max_new_tokens=suite.max_new_tokens, temperature=suite.temperature, seed=seed)


async def _converse(question: Question, item: Item, asked: Asked) -> Reply:
    """The last answer of the conversation that `item` leads."""
    messages = item.messages
    reply = await _answer(question, item, messages, asked)
    for number, followup in enumerate(item.followups):
        messages = (*messages, _said(reply, number), Message(role="user", content=followup))
        reply = await _answer(question, item, messages, asked)
    return reply


def _said(reply: Reply, turn: int) -> Message:
    """The answer as a message of the conversation that goes on."""
    calls = tuple(
        ToolCall(id=f"call_{turn}_{number}", function=FunctionCall(name=call["name"], arguments=call["arguments"]))
        for number, call in enumerate(reply.calls)
    )
    return Message(role="assistant", content=reply.text or (None if calls else ""), tool_calls=calls)


async def _answer(question: Question, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
    if question.kept is None:
        return await question.subject.answer(item, messages, asked)
    said = [message.model_dump(mode="json", exclude_defaults=True) for message in messages]
    key = digest_json([said, item.tools, asked.model_dump(mode="json")])
    known: dict[str, Any] | None = question.kept.get(key)
    if known is not None:
        return Reply(**{**known, "calls": tuple(known["calls"]), "logprobs": tuple(known["logprobs"])})
    reply = await question.subject.answer(item, messages, asked)
    question.kept.put(key, reply._asdict())
    return reply


async def _logprob(question: Question, item: Item, answer: str) -> tuple[float, int] | None:
    """(log-probability, tokens) of a given answer; None where the subject has none."""
    if question.kept is None:
        return await question.subject.logprob(item, answer)
    said = [message.model_dump(mode="json", exclude_defaults=True) for message in item.messages]
    key = digest_json(["logprob", said, item.tools, answer])
    known = question.kept.get(key)
    if known is not None:
        return known[0], known[1]
    found = await question.subject.logprob(item, answer)
    if found is not None:
        question.kept.put(key, list(found))
    return found
