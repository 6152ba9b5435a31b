"""The access check: no request reaches an endpoint before it is known who asks, and what they may do."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tunesmith.errors import DatabaseError
from tunesmith.serve.body_limit import refuse
from tunesmith.serve.caller import LOCAL, Caller, put_caller
from tunesmith.serve.failures import ApiError, as_api_error
from tunesmith.serve.keyring import ENVIRONMENT_KEY, KeyRing
from tunesmith.serve.scopes import scope_of
from tunesmith.types.key import Key

__all__ = ["OPEN_PATHS", "AccessCheck", "KeyGone", "require_allowed"]

OPEN_PATHS = frozenset({"/health", "/openapi.json"})
"""What anybody may read: whether the server is well, and how to talk to it."""

_READING = ("GET", "HEAD")
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class AccessCheck:
    """Middleware: puts the caller into `request.state.caller`, or answers 401. A key is never shown back.

    Without `keys` everybody is the local administrator, and requests that a web page made a browser send (another
    origin, or a foreign host name that leads to this machine) are refused.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing | None) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then go on."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            try:
                await self._identify(scope, scope.setdefault("state", {}))
            except (ApiError, DatabaseError) as error:
                await refuse(as_api_error(error), scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _identify(self, scope: Scope, state: dict[str, Any]) -> None:
        """Put caller and key into the state; `internal` for what the server itself asks in a caller's name."""
        state["internal"] = "caller" in state
        if not state["internal"]:
            put_caller(scope, await self._caller(scope))
        elif self._keys is not None and state["caller"].key not in (None, ENVIRONMENT_KEY):
            state["key"] = await self._keys.going_on(state["caller"].key)
            if state["key"] is None:
                raise KeyGone

    async def _caller(self, scope: Scope) -> Caller:
        headers = Headers(scope=scope)
        if self._keys is None:
            _require_local(headers)
            return LOCAL
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise _Unknown("You didn't provide an API key. Send it in the header Authorization: Bearer KEY.")
        key = await self._keys.find(secret.strip())
        if key is None:
            raise _Unknown("Incorrect API key provided. It is unknown here, has expired or was revoked.")
        scope["state"]["key"] = key
        return Caller(project=key.project, key=key.id, role=key.role)


class _Unknown(ApiError):
    def __init__(self, message: str) -> None:
        super().__init__(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


class KeyGone(_Unknown):
    """What the server asks of itself is refused: the key that it is for opens nothing any more."""

    def __init__(self) -> None:
        super().__init__("The API key that began this has expired or was revoked.")


def require_allowed(key: Key, method: str, path: str) -> None:
    """Raise ApiError 403 when the key's role or scopes do not include the request."""
    if key.role == "read" and method not in _READING:
        raise ApiError(403, f"This key may only read; {method} needs role member.", code="insufficient_permissions")
    if key.scopes and scope_of(path) not in key.scopes:
        listed = ", ".join(key.scopes)
        raise ApiError(403, f"This key is limited to: {listed}.", code="insufficient_permissions")


def _require_local(headers: Headers) -> None:
    host = headers.get("host", "")
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    origin = headers.get("origin")
    if name not in _LOOPBACK_NAMES or (origin is not None and origin.partition("://")[2] != host):
        raise ApiError(
            403,
            "This server has no keys, so it answers only programs of its own machine, not pages of other sites.",
            code="insufficient_permissions",
        )
