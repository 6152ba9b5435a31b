"""What /v1/webhook_endpoints takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from tunesmith.serve.body import Body
from tunesmith.types.base import Value
from tunesmith.types.webhooks import EventType

__all__ = [
    "EndpointCreate",
    "EndpointDeleted",
    "EndpointObject",
    "EndpointUpdate",
    "EndpointWithSecret",
    "EventTypes",
    "RotateRequest",
    "TestRequest",
    "TestResult",
]


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("it must be an address that begins with https:// (or http:// inside of your own network)")
    if parts.username or parts.password:
        raise ValueError("it must hold no user name and no password; events are signed instead")
    return url


Url = Annotated[str, Field(max_length=2048), AfterValidator(_address)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Wanted = Annotated[list[EventType], Field(min_length=1)]


class EndpointCreate(Body):
    """A new endpoint."""

    name: Name
    url: Url
    event_types: Wanted


class EndpointUpdate(Body):
    """What changes of an endpoint; `event_types` is the whole new list."""

    name: Name | None = None
    url: Url | None = None
    event_types: Wanted | None = None


class RotateRequest(Body):
    """Whether the old secret signs beside the new one for a day."""

    keep_old_secret_active_for_24_hours: bool | None = None


class TestRequest(Body):
    """The kind of event to send as a sample."""

    __test__ = False

    event_type: EventType


class EndpointObject(Value):
    """An endpoint; the hint shows the end of its secret."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: tuple[str, ...]
    created_at: int
    updated_at: int
    signing_secret_hint: str


class EndpointWithSecret(EndpointObject):
    """An endpoint with its secret, which is shown only now."""

    signing_secret: str


class EndpointDeleted(Value):
    """The endpoint is gone."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class TestResult(Value):
    """What the endpoint answered to the sample."""

    __test__ = False

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class EventTypes(Value):
    """The kinds of events there are."""

    object: Literal["list"] = "list"
    data: tuple[str, ...]
