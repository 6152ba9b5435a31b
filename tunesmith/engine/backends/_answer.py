"""One remote answer in the making: from the tokens that an endpoint tells to the events of the contract.

A constraint is enforced by the server and watched here: an answer that leaves it ends with an error instead of passing
for one that kept it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.engine.backends._wire import Dialect, Told, told
from tunesmith.engine.detokenise import Codec, Detokeniser
from tunesmith.engine.engine import FinishReason, Sampling, TokenEvent
from tunesmith.errors import EngineError

if TYPE_CHECKING:
    from llguidance import LLMatcher

__all__ = ["Answer"]


class Answer:
    """Decides text and ends from token ids, as every engine here does, whatever the endpoint thinks of them."""

    def __init__(self, sampling: Sampling, codec: Codec, dialect: Dialect, matcher: LLMatcher | None = None) -> None:
        self._sampling = sampling
        self._codec = codec
        self._dialect = dialect
        self._matcher = matcher
        self._text = Detokeniser(codec, sampling.stop)
        self._held: TokenEvent | None = None
        self.tokens = 0
        self.ended = False

    def take(self, document: Mapping[str, Any]) -> Iterator[TokenEvent]:
        """The events that one streamed document makes certain."""
        for choice in document.get("choices") or ():
            pieces = list(told(choice, self._dialect, self._sampling.top_logprobs))
            reason = choice.get("finish_reason")
            for index, one in enumerate(pieces):
                last = reason if index == len(pieces) - 1 else None
                yield from self._accept(one, last)
                if self.ended:
                    return
            if reason is not None and not pieces:
                yield from self._end_after(reason)

    def _accept(self, one: Told, told_reason: str | None) -> Iterator[TokenEvent]:
        self.tokens += 1
        self._watch(one.token_id)
        text, reason = self._advance(one.token_id)
        if reason is None and told_reason is not None:
            rest = self._text.finish()
            text, reason = text + rest.text, "stop" if rest.stopped else _reason(told_reason)
        event = TokenEvent(
            token_id=one.token_id, text=text, logprob=min(one.logprob, 0.0), top=one.top, finish_reason=reason
        )
        if self._held is not None:
            yield self._held
            self._held = None
        self.ended = reason is not None
        if self.ended or not self._dialect.late:
            yield event
        else:
            self._held = event

    def _watch(self, token: int) -> None:
        """Raise EngineError for a token that the constraint does not allow here."""
        if self._matcher is None:
            return
        ends = token in self._codec.stop_ids
        if not (self._matcher.is_accepting() if ends else self._matcher.consume_token(token)):
            raise EngineError(
                "The server left the constraint of the request.",
                hint='Start vLLM with --structured-outputs-config \'{"backend": "guidance"}\'.',
            )

    def _end_after(self, told_reason: str) -> Iterator[TokenEvent]:
        """The end, told when no more tokens come."""
        if self._held is None:
            raise EngineError("The endpoint ended an answer without a token.")
        rest, self.ended = self._text.finish(), True
        yield self._held._replace(text=self._held.text + rest.text, finish_reason=_reason(told_reason))

    def _advance(self, token: int) -> tuple[str, FinishReason | None]:
        if token in self._codec.stop_ids:
            return self._text.finish().text, "stop"
        piece = self._text.push(token)
        if piece.stopped:
            return piece.text, "stop"
        if self.tokens < self._sampling.max_tokens:
            return piece.text, None
        rest = self._text.finish()
        return piece.text + rest.text, "stop" if rest.stopped else "length"


def _reason(told_reason: str) -> FinishReason:
    if told_reason == "length":
        return "length"
    if told_reason == "stop":
        return "stop"
    raise EngineError(f"The endpoint ended the answer with {told_reason!r}.")
