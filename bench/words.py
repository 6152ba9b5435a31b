"""A renderer that counts words: for figures of preparation that leave the tokenizer out."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.types.conversation import Conversation, Rendered
from tunesmith.types.dataset import Check, RenderingProof

__all__ = ["Words"]


class Words:
    """Every word is a token, those of assistants are trained."""

    template_digest = "words"
    tokenizer_digest = "words"

    def render(self, conversation: Conversation) -> Rendered:
        """One token for each word."""
        weights: list[float] = []
        for message in conversation.messages:
            weights += [float(message.role == "assistant")] * len((message.content or "").split())
        return Rendered(token_ids=(1,) * len(weights), loss_weights=tuple(weights), spans=())

    def prove(self, conversations: Sequence[Conversation]) -> RenderingProof:
        """Nothing is served with words."""
        check = Check(name="words are counted", passed=True, checked=len(conversations))
        return RenderingProof(
            template_digest=self.template_digest, tokenizer_digest=self.tokenizer_digest, checks=(check,)
        )
