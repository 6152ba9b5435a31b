"""API keys in the database: only their SHA-256 is stored, so a copy of the database opens nothing.

A key has 256 random bits, so its hash needs neither salt nor slowness: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from sqlalchemy import JSON, BigInteger, String, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Tables
from tunesmith.types.key import Grant, Key, KeyLimits, NewKey

__all__ = [
    "KeyRow",
    "Session",
    "add_key",
    "add_spending",
    "all_keys",
    "any_key",
    "digest_of",
    "key_by_id",
    "keys_by_digest",
    "revoke_key",
    "rotate_key",
]

_PREFIX = "sk-tunesmith-"


class KeyRow(Tables):
    """A key; rows are never deleted, so that the audit log's ids keep their meaning."""

    __tablename__ = "api_keys"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(8))
    name: Mapped[str]
    project: Mapped[str] = mapped_column(index=True)
    role: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    token_budget: Mapped[int | None] = mapped_column(BigInteger)
    tokens_spent: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    replaced_by: Mapped[str | None] = mapped_column(String(64))


def digest_of(secret: str) -> str:
    """What is stored of a key: SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def add_key(session: Session, grant: Grant, now: int) -> NewKey:
    """Make a key (`sk-tunesmith-` and 43 random characters) that may do what `grant` says."""
    secret = _PREFIX + secrets.token_urlsafe(32)
    row = KeyRow(
        id=f"key_{secrets.token_hex(12)}",
        digest=digest_of(secret),
        hint=secret[-4:],
        created_at=now,
        scopes=list(grant.scopes),
        **grant.model_dump(include={"name", "project", "role", "expires_at"}),
        **grant.limits.model_dump(),
    )
    session.add(row)
    session.flush()
    return NewKey(_key(row), secret)


def any_key(session: Session) -> bool:
    """Whether a key was ever made here."""
    return session.scalar(select(KeyRow.id).limit(1)) is not None


def all_keys(session: Session) -> tuple[Key, ...]:
    """Every key, in the order they were made."""
    return tuple(_key(row) for row in session.scalars(select(KeyRow).order_by(KeyRow.number)))


def key_by_id(session: Session, identity: str) -> Key:
    """One key. Raises NotFound."""
    return _key(_row(session, identity))


def keys_by_digest(session: Session) -> dict[str, Key]:
    """Digest -> key, of those that were not revoked."""
    return {row.digest: _key(row) for row in session.scalars(select(KeyRow).where(KeyRow.revoked_at.is_(None)))}


def revoke_key(session: Session, identity: str, now: int) -> Key:
    """The key opens nothing any more. Doing it again changes nothing. Raises NotFound."""
    row = _row(session, identity)
    if row.revoked_at is None:
        row.revoked_at = now
        session.flush()
    return _key(row)


def rotate_key(session: Session, identity: str, overlap_seconds: int, now: int) -> NewKey:
    """A new key that may do the same; the old one goes on for `overlap_seconds`, so that clients can change over.

    The new key begins with what the old one has spent: changing a key gives nobody a new budget. Raises NotFound, also
    for a key that opens nothing any more.
    """
    row = _row(session, identity)
    old = _key(row)
    if not old.usable(now):
        raise NotFound(f"The key {identity!r} is not in use any more.", hint="Make a new one: tunesmith keys create")
    made = add_key(session, Grant.model_validate(old.model_dump(include=set(Grant.model_fields))), now)
    _row(session, made.key.id).tokens_spent = row.tokens_spent
    end = now + overlap_seconds
    row.expires_at = end if row.expires_at is None else min(end, row.expires_at)
    row.replaced_by = made.key.id
    session.flush()
    return NewKey(made.key.model_copy(update={"tokens_spent": row.tokens_spent}), made.secret)


def add_spending(session: Session, tokens: Mapping[str, int]) -> None:
    """Add to what keys have spent: id -> tokens. Ids that are no stored key's are left out.

    What a rotated key still spends counts for the new one too, as what it had spent before does.
    """
    for identity, amount in sorted(tokens.items()):
        counted: str | None = identity
        while counted is not None:
            spent = update(KeyRow).where(KeyRow.id == counted).values(tokens_spent=KeyRow.tokens_spent + amount)
            query = spent.returning(KeyRow.replaced_by).execution_options(synchronize_session=False)
            counted = session.scalar(query)


def _row(session: Session, identity: str) -> KeyRow:
    row = session.scalar(select(KeyRow).where(KeyRow.id == identity).with_for_update())
    if row is None:
        raise NotFound(f"There is no key {identity!r}.", hint="See them with: tunesmith keys ls")
    return row


def _key(row: KeyRow) -> Key:
    limits = KeyLimits(
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        token_budget=row.token_budget,
    )
    fields = {name: getattr(row, name) for name in Key.model_fields if name != "limits"}
    return Key.model_validate(fields | {"limits": limits})
