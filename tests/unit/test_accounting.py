"""The middlewares together: the caller is known, the server may ask in a caller's name, failures are told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import ASGIApp

from tunesmith.serve import failures
from tunesmith.serve.access import AccessCheck
from tunesmith.serve.accounting import Accounting, Books
from tunesmith.serve.body_limit import BodyLimit
from tunesmith.serve.caller import AdminAsking, Asking, Caller, as_caller
from tunesmith.serve.catalogue import BaseIdentity
from tunesmith.serve.guard import Guard
from tunesmith.serve.keyring import KeyRing
from tunesmith.serve.limits import Accounts
from tunesmith.serve.metering import Pending
from tunesmith.serve.recorder import Recorder
from tunesmith.serve.trail import TRAIL
from tunesmith.store import audit
from tunesmith.store.database import Database
from tunesmith.store.keys import add_key, add_spending, all_keys, rotate_key
from tunesmith.types.key import Grant, KeyLimits, NewKey

BASE = BaseIdentity(name="tiny", digest="b", template_digest="t", created=5)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    yield opened
    opened.close()


def key_of(database: Database, **grant: Any) -> NewKey:
    with database.transaction() as session:
        return add_key(session, Grant.model_validate(grant), int(time.time()))


def application(books: Books, keys: KeyRing | None) -> FastAPI:
    app = FastAPI()
    failures.install(app)

    @app.get("/v1/who")
    async def who(caller: Asking) -> dict[str, Any]:
        return caller.model_dump()

    @app.get("/v1/admin")
    async def admin(caller: AdminAsking) -> str:
        return caller.project

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> int:
        trail = TRAIL.get()
        assert trail is not None
        trail.answered(7)
        return len(await request.body())

    @app.post("/v1/chat/completions/{completion_id}")
    async def label(completion_id: str) -> str:
        return completion_id

    @app.post("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("wires crossed")

    app.add_middleware(BodyLimit, guard=Guard(max_body_bytes=100))
    app.add_middleware(Accounting, books=books)
    app.add_middleware(AccessCheck, keys=keys)
    return app


def run(database: Database, keys: KeyRing | None, ask: Callable[[ASGIApp], Any]) -> list[tuple[str, int, str | None]]:
    """(path, status, key) of the audit log after `ask` has asked the application."""

    async def asking() -> None:
        accounts = Accounts()
        books = Books(accounts, Pending(3), Recorder(database, accounts), BASE)
        books.recorder.start()
        await ask(application(books, keys))
        await books.recorder.stop()

    asyncio.run(asking())
    with database.transaction() as session:
        return [(row.entry.path, row.entry.status, row.entry.key) for row in reversed(audit.latest(session, None, 100))]


def client(app: ASGIApp, secret: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


def test_what_the_server_asks_for_a_caller_is_the_callers(database: Database) -> None:
    made = key_of(database, project="p", limits=KeyLimits(token_budget=10, requests_per_minute=1), scopes=["files"])

    async def ask(app: ASGIApp) -> None:
        caller = Caller(project="p", key=made.key.id)
        async with client(as_caller(app, caller)) as inside, client(app) as outside:
            for _ in range(3):
                assert (await inside.get("/v1/who")).json() == {"project": "p", "key": made.key.id, "role": "member"}
            assert [(await inside.post("/v1/chat/completions")).status_code for _ in range(3)] == [200, 200, 429]
            assert (await inside.post("/v1/chat/completions/kept")).status_code == 200  # no model answers it
            assert (await inside.get("/v1/admin")).status_code == 403
            assert (await outside.get("/v1/who", headers={"caller": "p", "state": "p"})).status_code == 401

    asked = run(database, KeyRing(database), ask)
    chats = [("/v1/chat/completions", status, made.key.id) for status in (200, 200, 429)]
    assert asked == [*chats, ("/v1/chat/completions/kept", 200, made.key.id)]


def test_what_goes_on_after_a_rotation_is_charged_to_the_new_key_and_ends_with_its_budget(database: Database) -> None:
    now = int(time.time())
    old = key_of(database, project="p", limits=KeyLimits(token_budget=20)).key.id
    with database.transaction() as session:
        add_spending(session, {old: 6})
        new = rotate_key(session, old, 0, now)

    async def ask(app: ASGIApp) -> None:
        async with client(as_caller(app, Caller(project="p", key=old))) as inside, client(app, new.secret) as outside:
            assert (await outside.post("/v1/chat/completions")).status_code == 200
            assert [(await inside.post("/v1/chat/completions")).status_code for _ in range(2)] == [200, 429]
            assert (await outside.post("/v1/chat/completions")).status_code == 429

    run(database, KeyRing(database), ask)
    with database.transaction() as session:
        assert [key.tokens_spent for key in all_keys(session)] == [6, 20]


def test_a_failure_is_told_and_logged_without_ending_anything(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    made = key_of(database)

    async def ask(app: ASGIApp) -> None:
        async with client(app, made.secret) as outside:
            answer = await outside.post("/v1/broken")
            assert answer.json() == {
                "error": {
                    "message": "Internal error: RuntimeError.",
                    "type": "server_error",
                    "param": None,
                    "code": None,
                }
            }
            assert answer.status_code == 500

    with caplog.at_level(logging.ERROR):
        assert run(database, KeyRing(database), ask) == [("/v1/broken", 500, made.key.id)]
    assert "wires crossed" in caplog.text
    assert made.secret not in caplog.text


def test_bodies_are_bounded_whether_or_not_they_say_their_length(database: Database) -> None:
    async def pieces() -> Any:
        for _ in range(3):
            yield b"x" * 40

    async def ask(app: ASGIApp) -> None:
        async with client(app) as local:
            for content, status in ((b"x" * 100, 200), (b"x" * 101, 413), (pieces(), 413)):
                answer = await local.post("/v1/chat/completions", content=content)
                assert answer.status_code == status
            refused = await local.get("/v1/who?after=a%00b")
            assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")

    assert [status for _, status, _ in run(database, None, ask)] == [200, 413, 413]
