"""Kept responses: each project sees its own, later ones find those they go on from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tunesmith.errors import NotFound
from tunesmith.store import responses
from tunesmith.store.database import Database
from tunesmith.store.responses import add_response, chain_of, delete_response, newest_responses, response_by_id
from tunesmith.types.responses import StoredResponse


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


def made(identity: str, previous: str | None = None, project: str = "ours", created_at: int = 7) -> StoredResponse:
    fields = {"id": identity, "project": project, "created_at": created_at, "previous": previous}
    return StoredResponse.model_validate(fields | {"content": {"output": []}, "input": ({"id": "msg_1"},)})


def test_a_response_comes_back_as_it_was(database: Database) -> None:
    with database.transaction() as session:
        add_response(session, made("resp_1"))
    with database.transaction() as session:
        assert response_by_id(session, "ours", "resp_1") == made("resp_1")


def test_another_project_has_no_part_in_it(database: Database) -> None:
    with database.transaction() as session:
        add_response(session, made("resp_1"))
        assert response_by_id(session, "theirs", "resp_1") is None
        delete_response(session, "theirs", "resp_1")
        assert response_by_id(session, "ours", "resp_1") is not None
        with pytest.raises(NotFound, match="resp_1"):
            chain_of(session, "theirs", "resp_1")


def test_a_chain_is_told_from_its_beginning_until_a_part_is_deleted(database: Database) -> None:
    with database.transaction() as session:
        for identity, previous in (("resp_1", None), ("resp_2", "resp_1"), ("resp_3", "resp_2")):
            add_response(session, made(identity, previous))
        assert [one.id for one in chain_of(session, "ours", "resp_3")] == ["resp_1", "resp_2", "resp_3"]
        delete_response(session, "ours", "resp_1")
        with pytest.raises(NotFound, match="resp_1"):
            chain_of(session, "ours", "resp_3")


@pytest.mark.parametrize("part", [1, 3, 200])
def test_the_newest_come_first_each_once_however_they_are_read(
    database: Database, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "_PART", part)
    times = {"resp_a": 5, "resp_b": 7, "resp_c": 7, "resp_d": 7, "resp_e": 7, "resp_f": 6, "resp_g": 9}
    with database.transaction() as session:
        for identity, created_at in times.items():
            add_response(session, made(identity, created_at=created_at))
        add_response(session, made("foreign", project="theirs"))

    def ids(*between: int | None) -> str:
        return "".join(one.id[-1] for one in newest_responses(database, "ours", *between))

    assert ids() == "gedcbfa"
    assert ids(6, 7) == "edcbf"
    assert ids(8) == "g"
    assert ids(None, 5) == "a"
    assert ids(10) == ""


def test_others_write_while_the_newest_are_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "_PART", 1)
    with database.transaction() as session:
        for number in range(3):
            add_response(session, made(f"resp_{number}"))
    read = []
    for one in newest_responses(database, "ours"):
        read.append(one.id)
        with database.transaction() as session:
            add_response(session, made(f"resp_later_{len(read)}", created_at=8))
            delete_response(session, "ours", "resp_1")
    assert read == ["resp_2", "resp_0"]
