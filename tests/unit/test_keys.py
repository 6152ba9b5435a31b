"""Keys: only their hash is stored, they end when they should, and the ring notices changes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy import update
from starlette.responses import PlainTextResponse
from typer.testing import CliRunner

from tunesmith.cli.keys import app as keys_command
from tunesmith.errors import EngineError, NotFound, RecipeError
from tunesmith.serve import keyring
from tunesmith.serve.access import AccessCheck
from tunesmith.serve.caller import Caller
from tunesmith.serve.guard import Guard, require_guarded
from tunesmith.serve.inside import client_of
from tunesmith.serve.keyring import ENVIRONMENT_KEY, KeyRing
from tunesmith.serve.scopes import scope_of
from tunesmith.settings import Settings
from tunesmith.store import keys as store
from tunesmith.store.database import Database
from tunesmith.types.key import Grant, Key, KeyLimits

NOW = 1_000_000


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def test_a_key_comes_back_as_it_was_granted_and_its_secret_does_not(database: Database, tmp_path: Path) -> None:
    limits = KeyLimits(requests_per_minute=3, tokens_per_minute=2**40, token_budget=2**40)
    grant = Grant(name="n", project="p", role="read", scopes=("files", "evals"), expires_at=NOW + 5, limits=limits)
    with database.transaction() as session:
        key, secret = store.add_key(session, grant, NOW)
    with database.transaction() as session:
        assert store.key_by_id(session, key.id) == key
        assert store.keys_by_digest(session) == {store.digest_of(secret): key}
    assert Grant.model_validate(key.model_dump(include=set(Grant.model_fields))) == grant
    assert secret.startswith("sk-tunesmith-")
    assert len(secret) == len("sk-tunesmith-") + 43
    assert not [path for path in tmp_path.rglob("*.db") if secret.encode() in path.read_bytes()]
    assert (key.usable(NOW + 4), key.usable(NOW + 5)) == (True, False)


def test_rotation_keeps_what_was_spent_and_shortens_the_old_key(database: Database) -> None:
    with database.transaction() as session:
        old, _ = store.add_key(session, Grant(expires_at=NOW + 50), NOW)
        store.add_spending(session, {old.id: 7, "key_environment": 3})
        new, _ = store.rotate_key(session, old.id, 100, NOW)
        assert (new.tokens_spent, new.expires_at) == (7, NOW + 50)
        changed = store.key_by_id(session, old.id)
        assert (changed.expires_at, changed.replaced_by) == (NOW + 50, new.id)
        store.rotate_key(session, new.id, 10, NOW)
        assert store.key_by_id(session, new.id).expires_at == NOW + 10
        for identity in (old.id, "key_none"):
            with pytest.raises(NotFound):
                store.rotate_key(session, identity, 0, NOW + 60)


@pytest.mark.parametrize("beyond", [{"expires_at": 1_893_456_000_000}, {"expires_at": 2**62}, {"token_budget": 2**62}])
def test_a_stored_key_beyond_the_bounds_of_new_ones_locks_nobody_out(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beyond: dict[str, int]
) -> None:
    with database.transaction() as session:  # as it was kept before there were bounds
        odd, odd_secret = store.add_key(session, Grant(), NOW)
        other, other_secret = store.add_key(session, Grant(), NOW)
        session.execute(update(store.KeyRow).where(store.KeyRow.id == odd.id).values(**beyond))

    async def find(secret: str) -> Key | None:
        return await KeyRing(database).find(secret)

    for secret, key in ((odd_secret, odd), (other_secret, other)):
        found = asyncio.run(find(secret))
        assert found is not None
        assert found.id == key.id
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")
    for command in (["ls"], ["ls", "--json"], ["rotate", odd.id], ["revoke", odd.id], ["ls"]):
        shown = CliRunner().invoke(keys_command, command)
        assert shown.exit_code == 0, shown.output
        assert command[0] != "ls" or odd.id in shown.output
    assert asyncio.run(find(odd_secret)) is None


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (["--days", "1e9"], "--days"),
        (["--days", "1e300"], "--days"),
        (["--days", "inf"], "--days"),
        (["--requests-per-minute", str(2**31)], "--requests-per-minute"),
        (["--token-budget", str(2**62)], "--token-budget"),
    ],
)
def test_the_command_line_makes_no_key_beyond_the_bounds(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, options: list[str], flag: str
) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", database_url)
    refused = CliRunner().invoke(keys_command, ["create", *options])
    assert isinstance(refused.exception, RecipeError)
    assert [problem.field for problem in refused.exception.problems] == [flag]
    with database.transaction() as session:
        assert not store.any_key(session)


def test_revoking_twice_keeps_the_first_time(database: Database) -> None:
    with database.transaction() as session:
        key, _ = store.add_key(session, Grant(), NOW)
        assert store.revoke_key(session, key.id, NOW + 1).revoked_at == NOW + 1
        assert store.revoke_key(session, key.id, NOW + 2).revoked_at == NOW + 1
        assert store.keys_by_digest(session) == {}
        assert store.all_keys(session)[0].revoked_at == NOW + 1


def test_the_ring_knows_new_keys_at_once_and_changes_when_it_looks_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 3_600.0)

    async def run() -> None:
        ring = KeyRing(database)
        assert await ring.find("nothing") is None
        with database.transaction() as session:
            made = store.add_key(session, Grant(), int(time.time()))
        found = await ring.find(made.secret)
        assert found == made.key
        with database.transaction() as session:
            store.revoke_key(session, made.key.id, int(time.time()))
        assert await ring.find(made.secret) == made.key  # made by another process: not noticed yet
        ring.forget()
        assert await ring.find(made.secret) is None
        with database.transaction() as session:
            other = store.add_key(session, Grant(), int(time.time()))
        assert await ring.find(other.secret) == other.key
        with database.transaction() as session:
            store.revoke_key(session, other.key.id, int(time.time()))
        monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)
        assert await ring.find(other.secret) is None

    asyncio.run(run())


def test_a_key_that_is_revoked_while_the_keys_are_read_opens_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 3_600.0)

    async def run() -> None:
        ring = KeyRing(database)
        with database.transaction() as session:
            made = store.add_key(session, Grant(), int(time.time()))
        has_read, revoked, read = threading.Event(), threading.Event(), ring._read

        def read_slowly() -> Any:
            found = read()
            has_read.set()
            assert revoked.wait(60)
            return found

        monkeypatch.setattr(ring, "_read", read_slowly)
        asked_before = asyncio.create_task(ring.find(made.secret))
        await asyncio.to_thread(has_read.wait, 60)
        with database.transaction() as session:
            store.revoke_key(session, made.key.id, int(time.time()))
        ring.forget()
        revoked.set()
        assert await asked_before == made.key
        assert await ring.find(made.secret) is None

    asyncio.run(run())


def test_what_the_server_asks_of_itself_needs_the_key_that_began_it(database: Database) -> None:
    async def answered(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("an answer")(scope, receive, send)

    async def run() -> None:
        with database.transaction() as session:
            old, other = (store.add_key(session, Grant(), int(time.time())).key.id for _ in range(2))
            store.rotate_key(session, old, 0, int(time.time()))
        ring = KeyRing(database)

        async def ask(key: str | None) -> httpx.Response:
            async with client_of(AccessCheck(answered, ring), Caller(project="default", key=key)) as client:
                return await client.get("models")

        for key in (old, other, ENVIRONMENT_KEY, None):
            assert (await ask(key)).text == "an answer", key
        with database.transaction() as session:
            store.revoke_key(session, other, int(time.time()))
        ring.forget()
        refused = await ask(other)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert (await ask("key_unknown")).status_code == 401

    asyncio.run(run())


def test_what_a_rotated_key_still_spends_counts_for_the_new_one(database: Database) -> None:
    with database.transaction() as session:
        old, other = (store.add_key(session, Grant(), NOW).key.id for _ in range(2))
        store.add_spending(session, {old: 7})
        new = store.rotate_key(session, old, 100, NOW).key.id
        newest = store.rotate_key(session, new, 100, NOW).key.id
    with database.transaction() as session:
        store.add_spending(session, {old: 10, new: 100, "key_environment": 3, "key_none": 3})
    with database.transaction() as session:
        spent = {key.id: key.tokens_spent for key in store.all_keys(session)}
    assert spent == {old: 17, new: 117, newest: 117, other: 0}


def test_what_a_key_began_goes_on_with_the_key_that_it_ran_out_for_until_either_is_revoked(database: Database) -> None:
    now = int(time.time())
    with database.transaction() as session:
        lasting, ran_out = (store.add_key(session, Grant(), now).key.id for _ in range(2))
        after_lasting = store.rotate_key(session, lasting, 1_000, now).key.id
        after_ran_out = store.rotate_key(session, ran_out, 0, now).key.id

    async def going_on() -> list[str | None]:
        ring = KeyRing(database)
        found = [await ring.going_on(key) for key in (lasting, ran_out, "key_none")]
        assert [await ring.goes_on(key) for key in (lasting, ran_out, "key_none")] == [key is not None for key in found]
        return [key.id if key is not None else None for key in found]

    assert asyncio.run(going_on()) == [lasting, after_ran_out, None]
    with database.transaction() as session:
        store.revoke_key(session, lasting, now)
        store.revoke_key(session, after_ran_out, now)
        assert store.key_by_id(session, after_lasting).usable(now)
        assert not store.key_by_id(session, ran_out).usable(now)
    assert asyncio.run(going_on()) == [None, None, None]


def test_many_wrong_keys_cost_few_readings(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        ring = KeyRing(database)
        readings = []
        monkeypatch.setattr(ring, "_read", lambda: readings.append(1) or {})
        start = time.monotonic()
        found = await asyncio.gather(*(ring.find(f"wrong {index}") for index in range(2_000)))
        assert found == [None] * 2_000
        assert len(readings) <= 2 + (time.monotonic() - start) / 0.1

    asyncio.run(run())


def test_the_first_key_is_made_once_and_not_where_the_environment_gives_one(database: Database) -> None:
    async def run() -> None:
        given = KeyRing(database, "sixteen characters")
        assert given.first_key() is None
        found = await given.find("sixteen characters")
        assert isinstance(found, Key)
        assert (found.id, found.role) == (ENVIRONMENT_KEY, "admin")
        ring = KeyRing(database)
        assert await ring.find("sixteen characters") is None
        secret = ring.first_key()
        assert secret is not None
        first = await ring.find(secret)
        assert first is not None
        assert first.role == "admin"
        assert ring.first_key() is None

    asyncio.run(run())


def test_a_short_key_of_the_environment_is_refused_and_a_long_one_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", "short")
    with pytest.raises(ValidationError):
        Settings()
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", "a long enough key")
    assert "a long enough key" not in repr(Settings()) + str(Settings().model_dump(mode="json"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "", "no.such.host.invalid"])
def test_wide_addresses_need_keys(host: str) -> None:
    require_guarded(Guard(), host)
    with pytest.raises(EngineError, match="Without keys"):
        require_guarded(Guard(keys=False), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.4.5", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    require_guarded(Guard(keys=False), host)


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v1/chat/completions", "inference"),
        ("/v1/fine-tuning/jobs/x", "fine_tuning"),
        ("/v1/uploads", "files"),
        ("/v1/tunesmith/keys", "tunesmith"),
        ("/v1", None),
        ("/v1/other", None),
        ("/chat/completions", None),
        ("//v1/chat", None),
    ],
)
def test_each_path_has_one_scope(path: str, scope: str | None) -> None:
    assert scope_of(path) == scope
