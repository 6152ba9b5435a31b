"""What one request does, noted while it is answered: the model, the prompts, the tokens.

The trail travels with the request's tasks and threads (a context variable), so that endpoints need not hand it on: the
metered engine, the shelf and the catalogue note what passes through them. What a request starts in the background goes
on charging its key.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from contextvars import ContextVar

from tunesmith.serve.caller import Caller
from tunesmith.serve.limits import Account
from tunesmith.types.release import Release

__all__ = ["TRAIL", "Trail", "note_model", "note_release"]


class Trail:
    """The trail of one request of `caller`, whose tokens are charged to `account` (None: to nobody)."""

    def __init__(self, caller: Caller, account: Account | None, request: str) -> None:
        self.caller = caller
        self.account = account
        self.request = request
        self.model: str | None = None
        self.release: Release | None = None
        self.asked_a_model = False
        self.prompts: dict[str, int] = {}
        self.completion_tokens = 0

    def prompted(self, prompt_ids: Sequence[int]) -> None:
        """A model is given this prompt. The same prompt again (another choice of the answer) counts once."""
        digest = hashlib.sha256(array("I", prompt_ids).tobytes()).hexdigest()
        if digest not in self.prompts:
            self.prompts[digest] = len(prompt_ids)
            self._charge(len(prompt_ids))

    def answered(self, tokens: int) -> None:
        """A model gave this many tokens."""
        self.completion_tokens += tokens
        self._charge(tokens)

    def _charge(self, tokens: int) -> None:
        if self.account is not None:
            self.account.charge(tokens)


TRAIL: ContextVar[Trail | None] = ContextVar("tunesmith_trail", default=None)
"""The trail of the request that this task or thread works for; None outside of requests."""


def note_model(model: str) -> None:
    """The request asked for the model with this id, which exists."""
    trail = TRAIL.get()
    if trail is not None:
        trail.model = model


def note_release(release: Release | None) -> None:
    """The request is answered by this release; None: by the base."""
    trail = TRAIL.get()
    if trail is not None:
        trail.release = release
        trail.asked_a_model = True
