"""Stored answers as rows of a run: how many are taken, what is left of those that are gone, how they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tunesmith.serve.api.evals import kept_rows as module
from tunesmith.serve.api.evals.answers import given
from tunesmith.serve.api.evals.data_sources import KeptChats, KeptResponses
from tunesmith.serve.api.evals.kept_rows import LostRow, kept_rows, picked
from tunesmith.serve.api.evals.transcript import plain, spoken
from tunesmith.serve.failures import ApiError
from tunesmith.store.chats import ChatStore
from tunesmith.store.database import Database
from tunesmith.store.responses import add_response, delete_response
from tunesmith.types.chats import StoredChat
from tunesmith.types.responses import StoredResponse

CHATS, RESPONSES = KeptChats(type="stored_completions"), KeptResponses(type="responses")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    for number in range(4):
        message = {"role": "assistant", "content": f"said {number}", "refusal": None, "tool_calls": None}
        content = {"model": "base", "tools": None, "choices": [{"message": message, "finish_reason": "stop"}]}
        fields = {"id": f"chat_{number}", "project": "p", "created_at": 1, "metadata": {}, "content": content}
        ChatStore(found).add(StoredChat.model_validate(fields | {"messages": ({"role": "user", "content": "q"},)}))
        with found.transaction() as session:
            add_response(session, response(f"resp_{number}"))
    yield found
    found.close()


def response(identity: str) -> StoredResponse:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "said"}]}
    content = {
        "model": "base",
        "output": [said],
        "tools": [],
        "instructions": None,
        "metadata": {},
        "user": None,
        "status": "completed",
        "temperature": 1.0,
        "top_p": 1.0,
    }
    fields = {"id": identity, "project": "p", "created_at": 1, "previous": None, "content": content}
    asked = ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},)
    return StoredResponse.model_validate(fields | {"input": asked})


@pytest.mark.parametrize(("source", "kind"), [(CHATS, "chat"), (RESPONSES, "resp")])
def test_more_than_a_run_takes_is_refused_and_a_limit_takes_the_newest(
    database: Database, source: KeptChats | KeptResponses, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = tuple(f"{kind}_{number}" for number in range(4))
    monkeypatch.setattr(module, "MOST_KEPT", 4)
    assert picked(database, "p", source, {}) == everything
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    with pytest.raises(ApiError, match=r"More than 3 .* limit") as caught:
        picked(database, "p", source, {})
    assert (caught.value.status, caught.value.param) == (400, "data_source.source")
    assert picked(database, "p", source.model_copy(update={"limit": 3}), {}) == everything[1:]
    with pytest.raises(ApiError, match="No stored"):
        picked(database, "another", source, {})


def test_an_answer_that_was_deleted_since_is_a_row_that_says_so(database: Database) -> None:
    ChatStore(database).delete("p", "chat_1")
    with database.transaction() as session:
        delete_response(session, "p", "resp_0")
    chats = list(kept_rows(database, "p", CHATS, ("chat_0", "chat_1", "chat_2")))
    responses = list(kept_rows(database, "p", RESPONSES, ("resp_0", "resp_1")))
    assert [isinstance(row, LostRow) for row in [*chats, *responses]] == [False, True, False, True, False]
    for row, identity in ((chats[1], "chat_1"), (responses[0], "resp_0")):
        said = given(row)
        assert (row.item, said.sample, said.shown["error"]["code"]) == ({"id": identity}, None, "not_found")
        assert f"The stored answer {identity} is not there" in said.shown["error"]["message"]
    shown = [given(row).shown["output"][0]["content"] for row in (chats[0], chats[2], responses[1])]
    assert shown == ["said 0", "said 2", "said"]


def test_another_projects_answers_are_lost_rows(database: Database) -> None:
    rows = [*kept_rows(database, "q", CHATS, ("chat_0",)), *kept_rows(database, "q", RESPONSES, ("resp_0",))]
    assert [isinstance(row, LostRow) for row in rows] == [True, True]


def test_items_of_a_response_are_shown_as_messages_of_a_chat() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "clock", "arguments": "{}"}
    items: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "What "}, {"type": "input_text", "text": "time?"}]},
        call,
        {"type": "function_call_output", "call_id": "c", "output": "12:00"},
        "no message",
    ]
    function = {"name": "clock", "arguments": "{}"}
    assert plain(items) == [
        {"role": "user", "content": "What time?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": function}]},
        {"role": "tool", "content": "12:00"},
    ]
    assert plain("hello") == [{"role": "user", "content": "hello"}]
    text, calls, reason = spoken({"status": "completed", "output": [call]})
    assert (text, calls[0]["function"], reason) == ("", function, "tool_calls")
    said = {"type": "message", "content": [{"type": "output_text", "text": "cut"}]}
    assert spoken({"status": "incomplete", "output": [said]}) == ("cut", [], "length")
