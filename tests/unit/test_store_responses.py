"""Kept responses: each project sees its own, later ones find those they go on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith.errors import NotFound
from tunesmith.store.database import Database
from tunesmith.store.responses import add_response, chain_of, delete_response, response_by_id
from tunesmith.types.responses import StoredResponse


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    yield found
    found.close()


def made(identity: str, previous: str | None = None, project: str = "ours") -> StoredResponse:
    return StoredResponse(
        id=identity, project=project, created_at=7, previous=previous, content={"output": []}, input=({"id": "msg_1"},)
    )


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
