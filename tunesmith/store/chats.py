"""Chats that were asked to be kept, found again by their model and their metadata. Every question names a project."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, String, Text, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Database, Tables
from tunesmith.store.windows import Slice, Window, slice_of, windowed
from tunesmith.types.base import digest_json
from tunesmith.types.chats import StoredChat

__all__ = ["ChatFilter", "ChatLabelRow", "ChatRow", "ChatStore"]


class ChatRow(Tables):
    """A chat. `number` counts up, so that a list has one order; `content` is its JSON."""

    __tablename__ = "stored_chats"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[str] = mapped_column(Text)


class ChatLabelRow(Tables):
    """What a chat is found by: the digest of its model's name, and of each pair of its metadata.

    A digest is short enough for an index and has no zero byte, which PostgreSQL takes in no text.
    """

    __tablename__ = "stored_chat_labels"

    chat: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)


class ChatFilter(NamedTuple):
    """Which chats: of this model, with all these pairs of metadata, made between these times (Unix seconds, both
    included). None: of any.
    """

    model: str | None = None
    metadata: frozenset[tuple[str, str]] = frozenset()
    created_after: int | None = None
    created_before: int | None = None


class ChatStore:
    """What is not there, or another project's, is NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, chat: StoredChat) -> None:
        """Keep a new chat."""
        with self._database.transaction() as session:
            fields = {"id": chat.id, "project": chat.project, "created_at": chat.created_at}
            session.add(ChatRow(**fields, content=chat.model_dump_json()))
            _label(session, chat)

    def get(self, project: str, identity: str) -> StoredChat:
        """One chat."""
        with self._database.transaction() as session:
            return StoredChat.model_validate_json(_row(session, project, identity).content)

    def list(self, project: str, wanted: ChatFilter, window: Window) -> Slice[StoredChat]:
        """Chats in the order of their making."""
        with self._database.transaction() as session:
            query = windowed(_chosen(project, wanted), ChatRow, window, lambda after: _row(session, project, after))
            return slice_of(session, query, window, StoredChat.model_validate_json)

    def newest(self, project: str, wanted: ChatFilter, limit: int) -> tuple[str, ...]:
        """Ids of the newest `limit` chats, the oldest of them first."""
        query = _chosen(project, wanted).with_only_columns(ChatRow.id).order_by(ChatRow.number.desc()).limit(limit)
        with self._database.transaction() as session:
            return tuple(reversed(session.scalars(query).all()))

    def label(self, project: str, identity: str, metadata: dict[str, str]) -> StoredChat:
        """The chat with this metadata in the place of what it had."""
        with self._database.transaction() as session:
            row = _row(session, project, identity, change=True)
            changed = StoredChat.model_validate_json(row.content).model_copy(update={"metadata": metadata})
            row.content = changed.model_dump_json()
            session.execute(delete(ChatLabelRow).where(ChatLabelRow.chat == identity))
            _label(session, changed)
            return changed

    def delete(self, project: str, identity: str) -> None:
        """Forget a chat."""
        with self._database.transaction() as session:
            session.delete(_row(session, project, identity, change=True))
            session.execute(delete(ChatLabelRow).where(ChatLabelRow.chat == identity))


def _label(session: Session, chat: StoredChat) -> None:
    session.add_all(ChatLabelRow(chat=chat.id, digest=one) for one in _digests(chat.model, chat.metadata.items()))


def _digests(model: str | None, metadata: Iterable[tuple[str, str]]) -> list[str]:
    labels = [] if model is None else [["model", model]]
    return [digest_json(one) for one in [*labels, *(["metadata", key, value] for key, value in metadata)]]


def _chosen(project: str, wanted: ChatFilter) -> Select[Any]:
    query = select(ChatRow).where(ChatRow.project == project)
    for digest in _digests(wanted.model, wanted.metadata):
        label = select(ChatLabelRow.chat).where(ChatLabelRow.chat == ChatRow.id, ChatLabelRow.digest == digest)
        query = query.where(label.exists())
    if wanted.created_after is not None:
        query = query.where(ChatRow.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(ChatRow.created_at <= wanted.created_before)
    return query


def _row(session: Session, project: str, identity: str, *, change: bool = False) -> ChatRow:
    query = select(ChatRow).where(ChatRow.id == identity, ChatRow.project == project)
    row = session.scalar(query.with_for_update() if change else query)
    if row is None:
        raise NotFound(f"There is no stored chat completion with the id {identity!r}.")
    return row
