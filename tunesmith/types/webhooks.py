"""Where events are sent, and the events that are on their way."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = ["Delivery", "EventType", "SigningSecret", "WebhookEndpoint"]

EventType = Literal[
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    "eval.run.succeeded",
    "eval.run.failed",
    "eval.run.canceled",
]


class SigningSecret(Value):
    """`whsec_` and base64 of the key; one that was rotated counts until `expires_at` (Unix seconds)."""

    text: str
    expires_at: int | None = None


class WebhookEndpoint(Value):
    """An address that gets events of a project. Times are Unix seconds; the newest secret comes first."""

    id: str
    project: str
    name: str
    url: str
    event_types: tuple[EventType, ...]
    secrets: tuple[SigningSecret, ...]
    created_at: int
    updated_at: int


class Delivery(Value):
    """One event on its way to one endpoint: `body` is sent as it is; `attempts` counts the one that is to be made."""

    event: str
    created_at: int
    body: str
    attempts: int
    endpoint: WebhookEndpoint
