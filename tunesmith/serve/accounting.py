"""Every request of a known caller: within its limits, on a trail, with provenance, in the audit log."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.serve.access import require_allowed
from tunesmith.serve.body_limit import refuse
from tunesmith.serve.caller import Caller
from tunesmith.serve.catalogue import BaseIdentity
from tunesmith.serve.failures import ApiError, answer
from tunesmith.serve.limits import Account, Accounts
from tunesmith.serve.metering import Pending
from tunesmith.serve.provenance import provenance
from tunesmith.serve.recorder import Recorder
from tunesmith.serve.scopes import generates
from tunesmith.serve.trail import TRAIL, Trail
from tunesmith.types.audit import AuditEntry
from tunesmith.types.base import digest_json

__all__ = ["Accounting", "Books"]

_log = logging.getLogger(__name__)

_LEFT = 499  # what nginx logs for a client that went away
_LONGEST_PATH = 500
_ASKING = ("GET", "HEAD", "OPTIONS")


class Books(NamedTuple):
    """What is counted and kept of requests, over all of them."""

    accounts: Accounts
    pending: Pending
    recorder: Recorder
    base: BaseIdentity


class Accounting:
    """Middleware behind the access check, which has put the caller and the key into the scope's state."""

    def __init__(self, app: ASGIApp, books: Books) -> None:
        self._app = app
        self._books = books

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit the request, watch its answer, write it down."""
        state = scope.get("state", {})
        if scope["type"] != "http" or "caller" not in state:
            await self._app(scope, receive, send)
            return
        key = state.get("key")
        account = self._books.accounts.of(key) if key is not None else None
        trail = Trail(state["caller"], account, state.get("request_id", ""))
        watched = _Watched(send, trail, self._books.base)
        outer = TRAIL.set(trail)
        try:
            self._admit(scope, account)
            await self._app(scope, receive, watched)
        except ApiError as error:
            await refuse(error, scope, receive, watched)
        except ClientDisconnect:
            pass  # nobody is left to tell
        except Exception as error:
            _log.exception("%s failed", trail.request)
            if watched.started:
                raise
            failure = ApiError(500, f"Internal error: {type(error).__name__}.", kind="server_error")
            await answer(failure)(scope, receive, watched)
        finally:
            TRAIL.reset(outer)
            if scope["method"] not in _ASKING:
                await self._books.recorder.record(_entry(scope, trail, watched.outcome, self._books.base))

    def _admit(self, scope: Scope, account: Account | None) -> None:
        """Raise ApiError 403 for what the key may not do, 429 for what is too much."""
        asks_a_model = generates(scope["method"], scope["path"])
        if account is not None:
            if not scope["state"]["internal"]:
                require_allowed(account.key, scope["method"], scope["path"])
                account.admit_request()
            if asks_a_model:
                account.admit_tokens()
        if asks_a_model:
            self._books.pending.require_room()


class _Watched:
    """Sends an answer on, with its headers, and remembers how it ended."""

    def __init__(self, send: Send, trail: Trail, base: BaseIdentity) -> None:
        self._send = send
        self._trail = trail
        self._base = base
        self._status: int | None = None
        self._ended = False

    @property
    def started(self) -> bool:
        """Whether the answer has begun."""
        return self._status is not None

    @property
    def outcome(self) -> int:
        """The answer's status; 499 when it did not reach its end."""
        return self._status if self._status is not None and self._ended else _LEFT

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            told = provenance(self._trail, self._base) | _limits(self._trail.account)
            added = ((name.encode("latin-1"), text.encode("latin-1")) for name, text in told.items())
            message["headers"] = [*message.get("headers", ()), *added]
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._ended = True


def _limits(account: Account | None) -> dict[str, str]:
    return account.headers() if account is not None else {}


def _entry(scope: Scope, trail: Trail, status: int, base: BaseIdentity) -> AuditEntry:
    caller: Caller = trail.caller
    prompts = list(trail.prompts)
    asked = {}
    if trail.asked_a_model:
        asked = {
            "model": trail.model,
            "release": trail.release.reference if trail.release else None,
            "release_digest": trail.release.identity() if trail.release else None,
            "base_digest": base.digest,
            "template_digest": base.template_digest,
        }
    return AuditEntry(
        at=int(time.time()),
        request=trail.request,
        project=caller.project,
        key=caller.key,
        role=caller.role,
        method=scope["method"],
        path=scope.get("raw_path", b"").decode("latin-1")[:_LONGEST_PATH],
        status=status,
        prompt_digest=(prompts[0] if len(prompts) == 1 else digest_json(prompts)) if prompts else None,
        prompt_tokens=sum(trail.prompts.values()),
        completion_tokens=trail.completion_tokens,
        **asked,
    )
