"""Requests that the server makes of itself for a caller: they take the same way as the caller's own."""

from __future__ import annotations

import httpx
from starlette.types import ASGIApp

from tunesmith.grade.judge import HttpJudge
from tunesmith.serve.caller import Caller, as_caller

__all__ = ["client_of", "judge_of"]

# Never looked up: the transport hands requests to the application in this process.
_ADDRESS = "http://inside/v1"


def client_of(app: ASGIApp, caller: Caller) -> httpx.AsyncClient:
    """A client of this very application, which sees what `caller` sees."""
    return httpx.AsyncClient(base_url=_ADDRESS, transport=_transport(app, caller), timeout=None)


def judge_of(app: ASGIApp, caller: Caller) -> HttpJudge:
    """The models of this server as judges, for `caller`."""
    return HttpJudge(_ADDRESS, transport=_transport(app, caller))


def _transport(app: ASGIApp, caller: Caller) -> httpx.AsyncBaseTransport:
    return httpx.ASGITransport(app=as_caller(app, caller), raise_app_exceptions=False)
