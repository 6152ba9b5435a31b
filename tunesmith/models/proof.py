"""The proof of rendering: four properties without which a tuned model is not the model that was meant.

(a) ids equal those of the tokenizer's own chat template; (b) the ids a server sends as the prompt are a prefix of the
training ids at every trained turn; (c) every trained turn has its end-of-turn token in the loss; (d) every row has
trained tokens. Each check recomputes its side independently of `Renderer.render`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tunesmith.types.conversation import Conversation, Rendered
from tunesmith.types.dataset import Check, RenderingProof

if TYPE_CHECKING:
    from tunesmith.models.template import Renderer

__all__ = ["PROOF_ROWS", "prove"]

PROOF_ROWS = 2000


def prove(renderer: Renderer, conversations: Sequence[Conversation]) -> RenderingProof:
    """Check at most `PROOF_ROWS` evenly spaced conversations; the number checked is part of each result."""
    stride = max(1, -(-len(conversations) // PROOF_ROWS))
    chosen = conversations[::stride]
    rendered = [renderer.render(conversation) for conversation in chosen]
    checks = tuple(
        _check(name, holds, renderer, chosen, rendered)
        for name, holds in (
            ("ids equal the tokenizer's own chat template", _equals_official),
            ("prompt ids are a prefix of the training ids", _prompt_is_prefix),
            ("every trained turn ends with its end-of-turn token in the loss", _end_of_turn_trained),
            ("every row has trained tokens", _has_trained_tokens),
        )
    )
    return RenderingProof(
        template_digest=renderer.template_digest, tokenizer_digest=renderer.tokenizer_digest, checks=checks
    )


def _check(
    name: str,
    holds: Callable[[Renderer, Conversation, Rendered], bool],
    renderer: Renderer,
    conversations: Sequence[Conversation],
    rendered: Sequence[Rendered],
) -> Check:
    for index, (conversation, row) in enumerate(zip(conversations, rendered, strict=True)):
        if not holds(renderer, conversation, row):
            shown = conversation.messages[-1].content or ""
            return Check(name=name, passed=False, checked=index + 1, detail=f"first failure: {shown[:80]!r}")
    return Check(name=name, passed=bool(rendered), checked=len(rendered))


def _equals_official(renderer: Renderer, conversation: Conversation, row: Rendered) -> bool:
    """The official ids may go on after the last trained turn (a line break after the end-of-turn token)."""
    last = max(span.message for span in row.spans if span.trained)
    official = renderer.official_ids(conversation, turns=last + 1)
    return official[: len(row.token_ids)] == row.token_ids and not any(
        token in renderer.stop_ids for token in official[len(row.token_ids) :]
    )


def _prompt_is_prefix(renderer: Renderer, conversation: Conversation, row: Rendered) -> bool:
    return all(
        renderer.prompt_ids(conversation.messages[: span.message], conversation.tools) == row.token_ids[: span.start]
        for span in row.spans
        if span.trained
    )


def _end_of_turn_trained(renderer: Renderer, conversation: Conversation, row: Rendered) -> bool:
    end = renderer.end_of_text_id if conversation.is_text else renderer.end_of_turn_id
    return all(
        row.token_ids[span.end - 1] == end and row.loss_weights[span.end - 1] > 0 for span in row.spans if span.trained
    )


def _has_trained_tokens(renderer: Renderer, conversation: Conversation, row: Rendered) -> bool:
    return row.trained_tokens > 0
