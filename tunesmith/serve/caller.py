"""Who asks: the project and role behind a request."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Request

from tunesmith.types.base import Value

__all__ = ["LOCAL", "Asking", "Caller", "Role", "caller_of"]

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
