"""Who asks: the project and role behind a request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tunesmith.serve.failures import ApiError
from tunesmith.types.base import Value
from tunesmith.types.key import DEFAULT_PROJECT, Role

__all__ = ["LOCAL", "AdminAsking", "Asking", "Caller", "Role", "admin_of", "as_caller", "caller_of", "put_caller"]


class Caller(Value):
    """The project whose files, jobs and models a request sees, the id of its key and what that key may do."""

    project: str
    key: str | None = None
    role: Role = "member"


LOCAL = Caller(project=DEFAULT_PROJECT, role="admin")
"""Who asks where no keys are used."""


async def caller_of(request: Request) -> Caller:  # async, for FastAPI takes any other dependency to a thread
    """The caller that the access check found. A request that did not pass it has none, and fails."""
    found = request.state.caller
    assert isinstance(found, Caller)
    return found


async def admin_of(request: Request) -> Caller:
    """The caller, when it is an administrator. Raises ApiError 403 otherwise."""
    caller = await caller_of(request)
    if caller.role != "admin":
        raise ApiError(
            403,
            f"This needs a key with the role admin; this key's role is {caller.role}.",
            code="insufficient_permissions",
        )
    return caller


Asking = Annotated[Caller, Depends(caller_of)]
"""A parameter of a route: the caller."""

AdminAsking = Annotated[Caller, Depends(admin_of)]
"""A parameter of a route that only administrators may call: the caller."""


def put_caller(scope: Scope, caller: Caller) -> None:
    """Say who sent the request of `scope`. Only this process can: nothing that a client sends reaches `state`."""
    scope.setdefault("state", {})["caller"] = caller


def as_caller(app: ASGIApp, caller: Caller) -> ASGIApp:
    """`app` for requests that the server itself makes for `caller`: they need no key and see what the caller sees."""

    async def trusted(scope: Scope, receive: Receive, send: Send) -> None:
        put_caller(scope, caller)
        await app(scope, receive, send)

    return trusted
