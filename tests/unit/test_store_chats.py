"""Stored chats on SQLite and on PostgreSQL: found by model and metadata, each project its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from tunesmith.errors import NotFound
from tunesmith.store.chats import ChatFilter, ChatLabelRow, ChatStore
from tunesmith.store.database import Database
from tunesmith.store.windows import Window
from tunesmith.types.chats import StoredChat

MINE, THEIRS = "mine", "theirs"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
def store(database: Database) -> ChatStore:
    return ChatStore(database)


def keep(store: ChatStore, number: int, model: str = "base", project: str = MINE, **metadata: str) -> StoredChat:
    asked = ({"role": "user", "content": f"question {number} \0 \N{SNOWMAN}"},)
    made = StoredChat(
        id=f"chatcmpl-{project}-{number}",
        project=project,
        created_at=100 + number,
        metadata=metadata,
        content={"model": model},
        messages=asked,
    )
    store.add(made)
    return made


def numbers(store: ChatStore, window: Window | None = None, **wanted: Any) -> list[int]:
    found = store.list(MINE, ChatFilter(**wanted), window or Window(100))
    return [chat.created_at - 100 for chat in found.items]


def test_a_chat_comes_back_as_it_was_until_it_is_deleted(store: ChatStore) -> None:
    made = keep(store, 1, team="cards")
    assert store.get(MINE, made.id) == made
    store.delete(MINE, made.id)
    with pytest.raises(NotFound, match=made.id):
        store.get(MINE, made.id)
    with pytest.raises(NotFound):
        store.delete(MINE, made.id)


def test_nothing_is_left_of_a_deleted_chat(store: ChatStore, database: Database) -> None:
    made, other = keep(store, 1, team="cards"), keep(store, 2, team="cards")
    store.delete(MINE, made.id)
    with database.transaction() as session:
        assert session.scalars(select(ChatLabelRow.chat).distinct()).all() == [other.id]


def test_another_project_has_no_part_in_it(store: ChatStore) -> None:
    made = keep(store, 1, team="cards")
    for deed in (store.get, store.delete, lambda project, identity: store.label(project, identity, {})):
        with pytest.raises(NotFound):
            deed(THEIRS, made.id)
    assert store.list(THEIRS, ChatFilter(), Window(10)).items == ()
    assert store.newest(THEIRS, ChatFilter(model="base"), 10) == ()
    with pytest.raises(NotFound):
        store.list(THEIRS, ChatFilter(), Window(10, after=made.id))
    assert store.get(MINE, made.id) == made


def test_chats_are_found_by_model_metadata_and_time(store: ChatStore) -> None:
    keep(store, 1, team="cards", lang="en")
    keep(store, 2, team="cards", lang="de")
    keep(store, 3, model="tuned", team="cards")
    keep(store, 4)
    keep(store, 9, project=THEIRS, team="cards")
    assert numbers(store) == [1, 2, 3, 4]
    assert numbers(store, model="base") == [1, 2, 4]
    assert numbers(store, metadata=frozenset({("team", "cards")})) == [1, 2, 3]
    assert numbers(store, model="base", metadata=frozenset({("team", "cards"), ("lang", "de")})) == [2]
    assert numbers(store, metadata=frozenset({("lang", "en"), ("lang", "de")})) == []  # no chat has both
    assert numbers(store, created_after=102, created_before=103) == [2, 3]
    assert numbers(store, model="no\0body") == []
    assert store.newest(MINE, ChatFilter(metadata=frozenset({("team", "cards")})), 2) == (
        "chatcmpl-mine-2",
        "chatcmpl-mine-3",
    )


def test_a_pair_is_not_mistaken_for_another_or_for_a_model(store: ChatStore) -> None:
    keep(store, 1, model="a", b="c")
    assert numbers(store, metadata=frozenset({("model", "a")})) == []
    assert numbers(store, metadata=frozenset({("c", "b")})) == []
    assert numbers(store, metadata=frozenset({("b", "c")})) == [1]


def test_a_label_replaces_what_was_there(store: ChatStore) -> None:
    made = keep(store, 1, team="cards", lang="en")
    changed = store.label(MINE, made.id, {"team": "loans", "note": "\0" * 512})
    assert changed == store.get(MINE, made.id) == made.model_copy(update={"metadata": changed.metadata})
    assert numbers(store, metadata=frozenset({("team", "cards")})) == []
    assert numbers(store, metadata=frozenset({("team", "loans"), ("note", "\0" * 512)})) == [1]
    assert numbers(store, model="base") == [1]


def test_lists_go_on_after_a_chat_in_both_orders(store: ChatStore, database: Database) -> None:
    for number in range(5):
        keep(store, number)
    first = store.list(MINE, ChatFilter(), Window(2))
    assert first.has_more
    assert numbers(store, Window(2, after=first.items[-1].id)) == [2, 3]
    last = store.list(MINE, ChatFilter(), Window(2, after="chatcmpl-mine-2", descending=True))
    assert ([chat.id for chat in last.items], last.has_more) == (["chatcmpl-mine-1", "chatcmpl-mine-0"], False)
    with database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(ChatLabelRow)) == 5
