"""Events on their way: signed as the official client verifies them, tried again until they arrive.

Signature: base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}` (standardwebhooks.com); one for each secret that counts.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tunesmith.serve.service import Service
from tunesmith.store.webhooks import WebhookStore
from tunesmith.types.webhooks import Delivery, WebhookEndpoint

__all__ = ["SECRET_PREFIX", "send", "sending_events"]

_log = logging.getLogger(__name__)

SECRET_PREFIX = "whsec_"
POLL_SECONDS = 1.0
AT_ONCE = 16
TIMEOUT_SECONDS = 15.0


@asynccontextmanager
async def sending_events(service: Service) -> AsyncIterator[None]:
    """Events are sent inside the block; what has not arrived at its end is sent by the next server."""
    task = asyncio.create_task(_work(WebhookStore(service.platform.database)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def send(
    endpoint: WebhookEndpoint, event: str, body: str, client: httpx.AsyncClient, seconds: float = TIMEOUT_SECONDS
) -> int:
    """The status that the endpoint answers with; a redirection is not followed.

    Raises httpx.HTTPError; TimeoutError when it has not answered in time, however it drips: the client's own limit is
    for each of its bytes, and others wait for this one's end.
    """
    timestamp = str(int(time.time()))
    headers = {
        "content-type": "application/json",
        "user-agent": "tunesmith-webhooks/1.0",
        "webhook-id": event,
        "webhook-timestamp": timestamp,
        "webhook-signature": _signatures(endpoint, f"{event}.{timestamp}.{body}"),
    }
    async with (
        asyncio.timeout(seconds),
        client.stream("POST", endpoint.url, content=body.encode(), headers=headers) as response,
    ):
        return response.status_code


async def _work(store: WebhookStore) -> None:
    """Send what is due, for ever. Trouble with the database is logged, and waited out."""
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        while True:
            try:
                due = await asyncio.to_thread(store.claim, int(time.time()), AT_ONCE)
                await asyncio.gather(*(_deliver(store, delivery, client) for delivery in due))
            except Exception:  # noqa: BLE001 - logged with its traceback; events must go on being sent
                _log.exception("webhooks wait for the database")
                due = []
            if not due:
                await asyncio.sleep(POLL_SECONDS)


async def _deliver(store: WebhookStore, delivery: Delivery, client: httpx.AsyncClient) -> None:
    try:
        status = await send(delivery.endpoint, delivery.event, delivery.body, client)
        delivered, reason = 200 <= status < 300, f"status {status}"
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        delivered, reason = False, type(error).__name__
    if not delivered:
        identity = delivery.endpoint.id
        _log.warning("%s did not take %s (attempt %d): %s", identity, delivery.event, delivery.attempts, reason)
    await asyncio.to_thread(lambda: store.settle(delivery, delivered=delivered, now=int(time.time())))


def _signatures(endpoint: WebhookEndpoint, content: str) -> str:
    now = time.time()
    valid = [one.text for one in endpoint.secrets if one.expires_at is None or one.expires_at > now]
    keys = [base64.b64decode(text.removeprefix(SECRET_PREFIX)) for text in valid]
    digests = [hmac.digest(key, content.encode(), "sha256") for key in keys]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
