"""The audit log is a chain: whatever is changed, removed or put in is noticed, and where."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from tunesmith.serve.limits import Accounts
from tunesmith.serve.recorder import Recorder
from tunesmith.store import audit
from tunesmith.store.database import Database
from tunesmith.store.keys import add_key, all_keys
from tunesmith.types.audit import GENESIS, AuditEntry, AuditRow
from tunesmith.types.base import digest_json
from tunesmith.types.key import Grant


def entry(index: int, project: str = "default") -> AuditEntry:
    return AuditEntry(
        at=1_000 + index,
        request=f"req_{index}",
        project=project,
        key="key_1",
        role="member",
        method="POST",
        path="/v1/chat/completions",
        status=200,
        prompt_tokens=index,
    )


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def filled(database: Database) -> Database:
    for chunk in range(3):
        with database.transaction() as session:
            audit.append(session, [entry(chunk * 4 + index) for index in range(4)])
    return database


def execute(database: Database, statement: str) -> None:
    with database.transaction() as session:
        session.execute(text(statement))


def checked(database: Database, noted: str | None = None) -> tuple[int, int | None]:
    with database.transaction() as session:
        found = audit.verify(session, noted)
    return found.rows, found.broken


def test_a_row_is_the_digest_of_its_entry_its_number_and_the_row_before() -> None:
    row = AuditRow.after(1, GENESIS, entry(0))
    content = {"number": 1, "previous": "0" * 64, "entry": entry(0).model_dump(mode="json")}
    assert row.digest == digest_json(content)
    assert row.fits(None)
    assert AuditRow.after(2, row.digest, entry(1)).fits(row)
    assert not AuditRow.after(3, row.digest, entry(1)).fits(row)


def test_a_whole_log_is_whole(filled: Database, database: Database) -> None:
    assert checked(filled) == (12, None)
    with filled.transaction() as session:
        rows = audit.latest(session, None, 3)
        assert [row.number for row in rows] == [12, 11, 10]
        assert [row.number for row in audit.latest(session, "default", 2, before=10)] == [9, 8]
        assert audit.latest(session, "other", 5) == ()


def test_an_empty_log_is_whole(database: Database) -> None:
    assert checked(database) == (0, None)


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit_log SET content = replace(content, '200', '404') WHERE number = 5", 5),
        ("UPDATE audit_log SET content = '{' WHERE number = 6", 6),
        ("UPDATE audit_log SET project = 'other' WHERE number = 7", 7),
        ("UPDATE audit_log SET digest = previous WHERE number = 8", 8),
        ("DELETE FROM audit_log WHERE number = 1", 1),
        ("DELETE FROM audit_log WHERE number = 9", 9),
        ("DELETE FROM audit_log WHERE number = 12", 12),
        ("DELETE FROM audit_log", 1),
        ("DELETE FROM audit_head", 13),
        ("INSERT INTO audit_log SELECT 13, project, content, digest, digest FROM audit_log WHERE number = 12", 13),
    ],
)
def test_every_change_is_found_where_it_is(filled: Database, statement: str, broken: int) -> None:
    execute(filled, statement)
    assert checked(filled) == (broken - 1, broken)


def test_a_chain_written_anew_lacks_the_digest_that_was_noted(filled: Database) -> None:
    with filled.transaction() as session:
        noted = audit.verify(session).head
        audit.append(session, [entry(12)])
    assert checked(filled, noted) == (13, None)
    execute(filled, "DELETE FROM audit_log")
    execute(filled, "DELETE FROM audit_head")
    with filled.transaction() as session:
        audit.append(session, [entry(index) for index in range(1, 14)])
    assert checked(filled) == (13, None)
    assert checked(filled, noted) == (13, 0)


def together(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_several_writers_write_one_chain(database: Database) -> None:
    def write() -> None:
        for index in range(10):
            with database.transaction() as session:
                audit.append(session, [entry(index)])

    with database.transaction():
        pass  # makes the tables
    together([write] * 4)
    assert checked(database) == (40, None)


def test_the_recorder_writes_everything_and_what_was_spent_before_it_stops(database: Database) -> None:
    async def run() -> None:
        with database.transaction() as session:
            key = add_key(session, Grant(), 1).key
        accounts = Accounts()
        recorder = Recorder(database, accounts)
        recorder.start()
        for index in range(700):
            accounts.of(key).charge(2)
            await recorder.record(entry(index))
        await recorder.written()
        assert checked(database) == (700, None)
        await recorder.record(entry(700))
        accounts.of(key).charge(5)
        await recorder.stop()
        assert checked(database) == (701, None)
        with database.transaction() as session:
            assert all_keys(session)[0].tokens_spent == 1_405

    asyncio.run(run())


def test_a_database_that_is_away_loses_no_entry(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        recorder = Recorder(database, Accounts())
        write, failures = recorder._write, [1, 1]

        def unsteady(*arguments: object) -> None:
            if failures:
                failures.pop()
                raise OSError("the database is away")
            write(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(recorder, "_write", unsteady)
        monkeypatch.setattr("tunesmith.serve.recorder._AGAIN_SECONDS", 0.01)
        recorder.start()
        await recorder.record(entry(0))
        await recorder.written()
        await recorder.stop()

    asyncio.run(run())
    assert checked(database) == (1, None)
    assert "it is tried again" in caplog.text
