"""From engine events to OpenAI's objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from tunesmith.engine.calls import ArgumentsDelta, CallStart, Found, TextDelta
from tunesmith.engine.engine import TokenEvent
from tunesmith.serve.answering.plan import Plan
from tunesmith.serve.api.chat_completions.objects import (
    AnswerCall,
    AnswerMessage,
    CallDelta,
    CalledDelta,
    Choice,
    ChoiceLogprobs,
    ChunkDelta,
    NamedArguments,
    PromptDetails,
    TokenInfo,
    TopToken,
    Usage,
)
from tunesmith.serve.service import PromptRenderer

__all__ = ["FinishReason", "Reader", "assembled", "choice", "delta", "logprobs", "usage"]

FinishReason = Literal["stop", "length", "tool_calls", "function_call"]

# JSON has no -inf; OpenAI gives this for tokens that cannot be.
_LOWEST_LOGPROB = -9999.0


class Reader:
    """Reads the events of one choice: its text, or its text and calls where tools were offered (`legacy`: as
    functions, of which one is called at most).
    """

    def __init__(self, found: Plan, *, legacy: bool = False) -> None:
        self.legacy = legacy
        self._parser = found.parser()
        self._named = found.ask.choice.mode == "named"
        self._called = False

    def read(self, event: TokenEvent) -> list[Found]:
        """What the event adds."""
        if self._parser is None:
            return [TextDelta(event.text)] if event.text else []
        found = self._parser.push(event.text)
        if event.finish_reason is not None:
            found += self._parser.finish()
        self._called = self._called or any(isinstance(one, CallStart) for one in found)
        return found

    def reason(self, event: TokenEvent) -> FinishReason | None:
        """Why the choice ended with `event`: as OpenAI does, a call that was asked for by name is a plain stop."""
        if event.finish_reason == "stop" and self._called and not self._named:
            return "function_call" if self.legacy else "tool_calls"
        return event.finish_reason

    @property
    def calls_may_come(self) -> bool:
        """Whether the content may turn out to be null."""
        return self._parser is not None


def choice(index: int, events: Sequence[TokenEvent], reader: Reader, renderer: PromptRenderer | None) -> Choice:
    """A whole answer; with log-probabilities where there is a `renderer` to show the tokens."""
    pieces = [piece for event in events for piece in reader.read(event)]
    return assembled(index, pieces, events, reader, renderer)


def assembled(
    index: int,
    pieces: Sequence[Found],
    events: Sequence[TokenEvent],
    reader: Reader,
    renderer: PromptRenderer | None,
) -> Choice:
    """A whole answer of the pieces that `reader` found in its events."""
    text = "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))
    calls = tuple(_calls(pieces))
    return Choice(
        index=index,
        message=AnswerMessage(
            content=text or None if calls else text,
            tool_calls=None if reader.legacy else calls or None,
            function_call=calls[0].function if calls and reader.legacy else None,
        ),
        finish_reason=reader.reason(events[-1]) or "stop",
        logprobs=logprobs(events, renderer) if renderer is not None else None,
    )


def delta(piece: Found, *, legacy: bool = False) -> ChunkDelta:
    """The part of a chunk that says `piece`."""
    if isinstance(piece, TextDelta):
        return ChunkDelta(content=piece.text)
    if legacy:
        if isinstance(piece, CallStart):
            return ChunkDelta(function_call=CalledDelta(name=piece.name, arguments=""))
        return ChunkDelta(function_call=CalledDelta(arguments=piece.text))
    if isinstance(piece, CallStart):
        called = CalledDelta(name=piece.name, arguments="")
        return ChunkDelta(tool_calls=(CallDelta(index=piece.number, id=piece.id, type="function", function=called),))
    return ChunkDelta(tool_calls=(CallDelta(index=piece.number, function=CalledDelta(arguments=piece.text)),))


def logprobs(events: Sequence[TokenEvent], renderer: PromptRenderer) -> ChoiceLogprobs:
    """Log-probabilities of the tokens, the end-of-turn token left out as it is not part of the answer."""
    infos = []
    for event in events:
        if event.token_id in renderer.stop_ids:
            continue
        top = tuple(_token(renderer, other.token_id, other.logprob) for other in event.top)
        chosen = _token(renderer, event.token_id, event.logprob)
        infos.append(TokenInfo(**dict(chosen), top_logprobs=top))
    return ChoiceLogprobs(content=tuple(infos))


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> Usage:
    """Token counts."""
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptDetails(cached_tokens=cached_tokens),
    )


def _calls(pieces: Sequence[Found]) -> Iterator[AnswerCall]:
    for start in pieces:
        if isinstance(start, CallStart):
            arguments = [
                piece.text for piece in pieces if isinstance(piece, ArgumentsDelta) and piece.number == start.number
            ]
            yield AnswerCall(id=start.id, function=NamedArguments(name=start.name, arguments="".join(arguments)))


def _token(renderer: PromptRenderer, token_id: int, logprob: float) -> TopToken:
    text = renderer.decode((token_id,))
    known = None if "\ufffd" in text else tuple(text.encode())
    return TopToken(token=text, logprob=max(logprob, _LOWEST_LOGPROB), bytes=known)
