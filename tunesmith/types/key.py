"""API keys as values: what a key may do, and what is known of it. The key itself is in none of them."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from tunesmith.types.base import Value

__all__ = [
    "DEFAULT_PROJECT",
    "LAST_SECOND",
    "Grant",
    "GrantRequest",
    "Key",
    "KeyLimits",
    "LimitsRequest",
    "NewKey",
    "Role",
    "Scope",
]

DEFAULT_PROJECT = "default"
"""The project of a server on which nobody has made another."""

Role = Literal["admin", "member", "read"]
"""`read` sees what its project has, `member` also changes it and asks models, `admin` also manages keys."""

Scope = Literal["inference", "models", "files", "fine_tuning", "batches", "evals", "webhooks", "tunesmith"]
"""A part of the interface; see `tunesmith.serve.scopes`."""

LAST_SECOND = 253_402_300_799
"""The last second that has a date: the end of the year 9999, Unix seconds."""

# What every database has columns for.
_MOST_REQUESTS = 2**31 - 1
_MOST_TOKENS = 2**53

ProjectName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class KeyLimits(Value):
    """What a key may use, None without limit: requests and tokens a minute, and tokens (prompt and answer) in all."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    token_budget: int | None = Field(default=None, ge=1)


class Grant(Value):
    """What a key may do: whose project it sees, how (`role`), in which parts of the interface (`scopes`; none: in all),
    until when (`expires_at`, Unix seconds; None: for ever) and how much.

    Stored keys are read into this, and all of them at once: a bound that is new here would lock everybody out where one
    stored key is beyond it. What a new key may be given is bounded in GrantRequest.
    """

    name: str = Field(default="key", min_length=1, max_length=64)
    project: ProjectName = DEFAULT_PROJECT
    role: Role = "member"
    scopes: tuple[Scope, ...] = ()
    expires_at: int | None = Field(default=None, ge=1)
    limits: KeyLimits = KeyLimits()


class LimitsRequest(KeyLimits):
    """The limits that a new key may be given: what can be kept."""

    requests_per_minute: int | None = Field(default=None, ge=1, le=_MOST_REQUESTS)
    tokens_per_minute: int | None = Field(default=None, ge=1, le=_MOST_TOKENS)
    token_budget: int | None = Field(default=None, ge=1, le=_MOST_TOKENS)


class GrantRequest(Grant):
    """What a new key may be granted: what can be kept, until a second that has a date."""

    expires_at: int | None = Field(default=None, ge=1, le=LAST_SECOND)
    limits: LimitsRequest = LimitsRequest()


class Key(Grant):
    """A stored key. `hint` is its last four characters, times are Unix seconds.

    `replaced_by` is the id of the key that it was rotated to; `tokens_spent` counts questions and answers.
    """

    id: str
    hint: str
    created_at: int
    revoked_at: int | None = None
    replaced_by: str | None = None
    tokens_spent: int = 0

    def usable(self, now: int) -> bool:
        """Whether it still opens anything at `now` (Unix seconds)."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class NewKey(NamedTuple):
    """A key that was just made, and the only sight of its secret."""

    key: Key
    secret: str
