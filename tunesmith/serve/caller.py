"""Who asks: the project and role behind a request."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tunesmith.types.base import Value

__all__ = ["LOCAL", "Asking", "Caller", "Role", "as_caller", "caller_of", "put_caller"]

Role = Literal["admin", "member", "read"]


class Caller(Value):
    """The project whose files, jobs and models a request sees, the key it came with and what that key may do."""

    project: str
    key: str | None = None
    role: Role = "member"


LOCAL = Caller(project="default", role="admin")
"""Who asks where no keys are used."""


def caller_of(request: Request) -> Caller:
    """The caller that the access check found."""
    found = getattr(request.state, "caller", LOCAL)
    assert isinstance(found, Caller)
    return found


Asking = Annotated[Caller, Depends(caller_of)]
"""A parameter of a route: the caller."""


def put_caller(scope: Scope, caller: Caller) -> None:
    """Say who sent the request of `scope`. Only this process can: nothing that a client sends reaches `state`."""
    scope.setdefault("state", {})["caller"] = caller


def as_caller(app: ASGIApp, caller: Caller) -> ASGIApp:
    """`app` for requests that the server itself makes for `caller`: they need no key and see what the caller sees."""

    async def trusted(scope: Scope, receive: Receive, send: Send) -> None:
        put_caller(scope, caller)
        await app(scope, receive, send)

    return trusted
