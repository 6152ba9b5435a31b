"""Webhook endpoints, and the outbox of events: written with what happened, in one transaction, and sent by a server.

An event is delivered at least once; a receiver tells a repetition by its id (`webhook-id`).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, String, Text, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tunesmith.errors import NotFound
from tunesmith.store.database import Database, Tables
from tunesmith.store.windows import cursor
from tunesmith.types.webhooks import Delivery, EventType, WebhookEndpoint

__all__ = ["DeliveryRow", "EndpointPage", "WebhookEndpointRow", "WebhookStore", "add_event"]

RETRY_SECONDS = 4 * 3600
"""longest time between two attempts"""
GIVE_UP_SECONDS = 72 * 3600
"""age at which an event is no longer sent"""
_CLAIM_SECONDS = 30


class WebhookEndpointRow(Tables):
    """An endpoint; `content` is its JSON."""

    __tablename__ = "webhook_endpoints"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    project: Mapped[str] = mapped_column(index=True)
    content: Mapped[str] = mapped_column(Text)


class DeliveryRow(Tables):
    """An event that one endpoint has not got yet. It is tried from `due_at` (Unix seconds) on."""

    __tablename__ = "webhook_deliveries"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    event: Mapped[str] = mapped_column(String(64), index=True)
    endpoint: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int] = mapped_column(BigInteger, index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    body: Mapped[str] = mapped_column(Text)


class EndpointPage(NamedTuple):
    """A part of a list, and whether more follows."""

    items: tuple[WebhookEndpoint, ...]
    has_more: bool


def add_event(session: Session, project: str, kind: EventType, subject: str, now: int | None = None) -> None:
    """Say that `kind` happened to the thing with the id `subject`; every endpoint of `project` that wants it gets it.

    Call it in the transaction that changes the thing, so that neither happens without the other.
    """
    created_at = int(time.time()) if now is None else now
    event = f"evt_{secrets.token_hex(12)}"
    content = {"id": event, "object": "event", "created_at": created_at, "type": kind, "data": {"id": subject}}
    body = json.dumps(content)
    for row in session.scalars(select(WebhookEndpointRow).where(WebhookEndpointRow.project == project)):
        if kind in WebhookEndpoint.model_validate_json(row.content).event_types:
            times = {"created_at": created_at, "due_at": created_at}
            session.add(DeliveryRow(event=event, endpoint=row.id, body=body, **times))


class WebhookStore:
    """Endpoints of all projects, and what is on its way to them. A foreign or unknown id is NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, endpoint: WebhookEndpoint) -> None:
        """Store a new endpoint."""
        with self._database.transaction() as session:
            content = endpoint.model_dump_json()
            session.add(WebhookEndpointRow(id=endpoint.id, project=endpoint.project, content=content))

    def get(self, project: str, identity: str) -> WebhookEndpoint:
        """One endpoint."""
        with self._database.transaction() as session:
            return WebhookEndpoint.model_validate_json(_endpoint(session, project, identity).content)

    def list(self, project: str, limit: int, after: str | None) -> EndpointPage:
        """Endpoints in the order of their making, those after the one with the id `after` (else UnknownCursor)."""
        query = select(WebhookEndpointRow).where(WebhookEndpointRow.project == project)
        with self._database.transaction() as session:
            if after is not None:
                with cursor(after):
                    place = _endpoint(session, project, after).number
                query = query.where(WebhookEndpointRow.number > place)
            rows = session.scalars(query.order_by(WebhookEndpointRow.number).limit(limit + 1)).all()
        read = WebhookEndpoint.model_validate_json
        return EndpointPage(tuple(read(row.content) for row in rows[:limit]), len(rows) > limit)

    def update(self, project: str, identity: str, changes: dict[str, Any]) -> WebhookEndpoint:
        """The endpoint with `changes` to its fields."""
        with self._database.transaction() as session:
            row = _endpoint(session, project, identity, change=True)
            changed = WebhookEndpoint.model_validate_json(row.content).model_copy(update=changes)
            row.content = changed.model_dump_json()
            return changed

    def delete(self, project: str, identity: str) -> None:
        """Forget an endpoint and what was on its way to it."""
        with self._database.transaction() as session:
            row = _endpoint(session, project, identity, change=True)
            session.execute(delete(DeliveryRow).where(DeliveryRow.endpoint == identity))
            session.delete(row)

    def claim(self, now: int, limit: int) -> Sequence[Delivery]:
        """Deliveries that are due, now this caller's for half a minute; after it anybody tries again.

        What is too old by now is forgotten.
        """
        with self._database.transaction() as session:
            session.execute(delete(DeliveryRow).where(DeliveryRow.created_at < now - GIVE_UP_SECONDS))
            due = select(DeliveryRow).where(DeliveryRow.due_at <= now).order_by(DeliveryRow.due_at, DeliveryRow.number)
            rows = session.scalars(due.limit(limit).with_for_update(skip_locked=True)).all()
            found = []
            for row in rows:
                row.due_at, row.attempts = now + _CLAIM_SECONDS, row.attempts + 1
                content = session.scalar(
                    select(WebhookEndpointRow.content).where(WebhookEndpointRow.id == row.endpoint)
                )
                if content is not None:
                    endpoint = WebhookEndpoint.model_validate_json(content)
                    found.append(_delivery(row, endpoint))
            return found

    def settle(self, delivery: Delivery, *, delivered: bool, now: int) -> None:
        """Forget what arrived; try the rest again after 1, 2, 4, … seconds, at most every four hours."""
        mine = DeliveryRow.event == delivery.event, DeliveryRow.endpoint == delivery.endpoint.id
        with self._database.transaction() as session:
            row = session.scalar(select(DeliveryRow).where(*mine).with_for_update())
            if row is None:
                return
            if delivered:
                session.delete(row)
            else:
                row.due_at = now + min(2 ** (delivery.attempts - 1), RETRY_SECONDS)


def _delivery(row: DeliveryRow, endpoint: WebhookEndpoint) -> Delivery:
    return Delivery(event=row.event, created_at=row.created_at, body=row.body, attempts=row.attempts, endpoint=endpoint)


def _endpoint(session: Session, project: str, identity: str, *, change: bool = False) -> WebhookEndpointRow:
    query = select(WebhookEndpointRow).where(WebhookEndpointRow.id == identity, WebhookEndpointRow.project == project)
    row = session.scalar(query.with_for_update() if change else query)
    if row is None:
        raise NotFound(f"There is no webhook endpoint with the id {identity!r}.")
    return row
