"""Managing webhook endpoints. Everything but `test` waits for the database: call it in a thread."""

from __future__ import annotations

import base64
import json
import secrets
import time

import httpx

from tunesmith.serve.api.webhooks.protocol import (
    EndpointCreate,
    EndpointObject,
    EndpointUpdate,
    EndpointWithSecret,
    RotateRequest,
    TestResult,
)
from tunesmith.serve.api.webhooks.sending import SECRET_PREFIX, send
from tunesmith.serve.failures import invalid
from tunesmith.store.webhooks import WebhookStore
from tunesmith.types.webhooks import EventType, SigningSecret, WebhookEndpoint

__all__ = ["create", "rotate", "shown", "test", "update"]

_DAY_SECONDS = 24 * 3600
_TEST_SECONDS = 10.0


def shown(endpoint: WebhookEndpoint) -> EndpointObject:
    """The endpoint without its secret."""
    return EndpointObject(
        id=endpoint.id,
        name=endpoint.name,
        url=endpoint.url,
        event_types=endpoint.event_types,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
        signing_secret_hint=f"{SECRET_PREFIX}…{endpoint.secrets[0].text[-4:]}",
    )


def create(store: WebhookStore, project: str, request: EndpointCreate) -> EndpointWithSecret:
    """A new endpoint of `project`."""
    now = int(time.time())
    made = WebhookEndpoint(
        id=f"we_{secrets.token_hex(12)}",
        project=project,
        name=request.name,
        url=request.url,
        event_types=tuple(dict.fromkeys(request.event_types)),
        secrets=(_new_secret(),),
        created_at=now,
        updated_at=now,
    )
    store.add(made)
    return _with_secret(made)


def update(store: WebhookStore, project: str, identity: str, request: EndpointUpdate) -> EndpointObject:
    """What is not given stays."""
    given = request.model_dump(exclude_none=True)
    if not given:
        return shown(store.get(project, identity))
    if request.event_types is not None:
        given["event_types"] = tuple(dict.fromkeys(request.event_types))
    return shown(store.update(project, identity, given | {"updated_at": int(time.time())}))


def rotate(store: WebhookStore, project: str, identity: str, request: RotateRequest) -> EndpointWithSecret:
    """A new secret; the one before may go on for a day."""
    now = int(time.time())
    old = store.get(project, identity).secrets[:1]
    kept = tuple(one.model_copy(update={"expires_at": now + _DAY_SECONDS}) for one in old)
    held = (_new_secret(), *(kept if request.keep_old_secret_active_for_24_hours else ()))
    return _with_secret(store.update(project, identity, {"secrets": held, "updated_at": now}))


async def test(endpoint: WebhookEndpoint, kind: EventType) -> TestResult:
    """Send a sample now. Raises ApiError 400 when nobody answers at the address."""
    event = f"evt_{secrets.token_hex(12)}"
    data = {"id": f"sample_{secrets.token_hex(4)}"}
    body = {"id": event, "object": "event", "created_at": int(time.time()), "type": kind, "data": data}
    try:
        async with httpx.AsyncClient(timeout=_TEST_SECONDS, follow_redirects=False) as client:
            status = await send(endpoint, event, json.dumps(body), client, _TEST_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise invalid(f"Nobody answered at {endpoint.url}: {type(error).__name__}.", "url") from None
    return TestResult(webhook_endpoint_id=endpoint.id, event_type=kind, status_code=status)


def _new_secret() -> SigningSecret:
    return SigningSecret(text=SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())


def _with_secret(endpoint: WebhookEndpoint) -> EndpointWithSecret:
    return EndpointWithSecret(**dict(shown(endpoint)), signing_secret=endpoint.secrets[0].text)
