"""The database: clear refusals, several processes at once, and an end of the server that is survived."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text

from tunesmith.errors import DatabaseError
from tunesmith.store.database import Database
from tunesmith.store.keys import KeyRow, add_key
from tunesmith.types.key import Grant

END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize("url", ["mysql://u:geheim@h/n", "postgres", "", "http://host/x"])
def test_an_address_of_another_kind_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(DatabaseError, match="TUNESMITH_DATABASE_URL") as caught:
        Database(url)
    assert "geheim" not in str(caught.value)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    database = Database("postgresql://me:geheim@127.0.0.1:9/tunesmith")
    named = r"me:\*\*\*@127\.0\.0\.1:9/tunesmith cannot be used now"
    with pytest.raises(DatabaseError, match=named) as caught, database.transaction():
        pass
    assert "geheim" not in str(caught.value)


def test_tables_are_made_once_by_all_who_start_at_once(database_url: str) -> None:
    failures: list[Exception] = []
    start = threading.Barrier(4)

    def open_it() -> None:
        database = Database(database_url)
        start.wait()
        try:
            with database.transaction() as session:
                session.execute(text("SELECT count(*) FROM files"))
        except Exception as error:  # noqa: BLE001 - compared below
            failures.append(error)
        database.close()

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_transaction_is_kept_whole_or_not_at_all(database_url: str) -> None:
    database = Database(database_url)
    insert = "INSERT INTO releases (id, name, version, content) VALUES ('a', 'n', 1, '{}')"

    def break_off() -> None:
        with database.transaction() as session:
            session.execute(text(insert))
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    with database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM releases")) == 0
        session.execute(text(insert))
    with database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM releases")) == 1
    database.close()


def test_connections_that_the_server_ended_are_replaced(postgres_database_url: str) -> None:
    database, other = Database(postgres_database_url), Database(postgres_database_url)
    with database.transaction() as session:
        session.execute(text("SELECT 1"))
    with other.transaction() as session:
        assert session.scalars(text(END_OTHERS)).all() == [True]
    with database.transaction() as session:
        assert session.scalar(text("SELECT 1")) == 1

    def be_interrupted() -> None:
        with database.transaction() as session, other.transaction() as killer:
            session.execute(text("SELECT 1"))
            killer.execute(text(END_OTHERS))
            session.execute(text("SELECT 1"))

    with pytest.raises(DatabaseError):
        be_interrupted()
    database.close()
    other.close()


def test_the_folder_of_an_sqlite_file_is_made(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new' / 'registry.db'}")
    with database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM files")) == 0
    database.close()
    assert (tmp_path / "new" / "registry.db").is_file()


def test_an_id_with_a_zero_byte_is_looked_for_and_not_found(database_url: str) -> None:
    database = Database(database_url)
    with database.transaction() as session:
        known = add_key(session, Grant(), 0).key.id
    for strange in (f"{known}\0", "\0", f"{known[:5]}\0{known[5:]}"):
        with database.transaction() as session:
            assert session.scalar(select(KeyRow).where(KeyRow.id == strange).with_for_update()) is None
            assert session.scalars(select(KeyRow).where(KeyRow.id.in_([strange, known]))).one().id == known
    database.close()


def test_an_index_that_was_added_since_is_made_in_an_older_database(database_url: str) -> None:
    old = Database(database_url)
    with old.transaction() as session:
        session.execute(text("DROP INDEX responses_by_time"))
    old.close()
    database = Database(database_url)
    with database.transaction() as session:
        indexes = inspect(session.connection()).get_indexes("responses")
    database.close()
    (found,) = [index for index in indexes if index["name"] == "responses_by_time"]
    assert found["column_names"] == ["project", "created_at", "id"]


def test_the_newest_responses_are_read_along_their_index(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    query = "SELECT * FROM responses WHERE project = 'p' AND created_at >= 5 ORDER BY created_at DESC, id DESC LIMIT 9"
    with database.transaction() as session:
        plan = [str(row) for row in session.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
    database.close()
    assert ["responses_by_time" in step for step in plan] == [True], plan  # no step that sorts
