"""Stored chats through the official client: kept when asked for, whole or streamed, and each project its own."""

from __future__ import annotations

from typing import Any

import openai
import pytest

ASKED: Any = [{"role": "system", "content": "Short."}, {"role": "user", "content": "Where is my card?"}]
CLOCK: Any = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {"zone": {"enum": ["IST", "UTC"]}}}},
}
NAMED: Any = {"type": "function", "function": {"name": "clock"}}


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "base", "messages": ASKED, "max_tokens": 4, "store": True, **options}
    )


def ids(found: Any) -> list[str]:
    return [one.id for one in found]


def test_an_answer_is_kept_as_it_was_given(mine: openai.OpenAI) -> None:
    answer = ask(
        mine, n=2, seed=3, temperature=0.7, logprobs=True, top_logprobs=1, metadata={"team": "cards"}, user="u"
    )
    found = mine.chat.completions.retrieve(answer.id)
    assert found.choices == answer.choices
    assert (found.object, found.created, found.model, found.usage) == (
        *("chat.completion", answer.created, "base", answer.usage),
    )
    told = found.to_dict()
    asked = {"metadata": {"team": "cards"}, "seed": 3, "temperature": 0.7, "top_p": 1.0, "input_user": "u"}
    assert {name: told[name] for name in asked} == asked


@pytest.mark.parametrize("store", [False, None, openai.omit])
def test_what_is_not_to_be_kept_is_not(mine: openai.OpenAI, store: Any) -> None:
    answer = ask(mine, store=store, metadata={"team": "cards"})
    assert ids(mine.chat.completions.list()) == []
    with pytest.raises(openai.NotFoundError) as caught:
        mine.chat.completions.retrieve(answer.id)
    assert answer.id in str(caught.value)


@pytest.mark.parametrize(
    "options", [{}, {"n": 2, "seed": 1}, {"tools": [CLOCK], "tool_choice": NAMED, "max_tokens": 99}]
)
def test_a_streamed_answer_is_kept_word_for_word(mine: openai.OpenAI, options: Any) -> None:
    with mine.chat.completions.stream(
        model="base", messages=ASKED, store=True, **{"max_tokens": 6, **options}
    ) as stream:
        for _ in stream:
            pass
        streamed = stream.current_completion_snapshot
    found = mine.chat.completions.retrieve(streamed.id)
    assert (found.created, found.model) == (streamed.created, "base")
    assert [one.finish_reason for one in found.choices] == [one.finish_reason for one in streamed.choices]
    for kept, said in zip(found.choices, streamed.choices, strict=True):
        assert (kept.message.content or None) == (said.message.content or None)
        calls = [(call.id, call.function.name, call.function.arguments) for call in kept.message.tool_calls or ()]
        assert calls == [
            (call.id, call.function.name, call.function.arguments) for call in said.message.tool_calls or ()
        ]
        assert bool(calls) == ("tools" in options)


def test_a_client_that_leaves_at_the_end_finds_the_answer(mine: openai.OpenAI) -> None:
    for chunk in (stream := ask(mine, stream=True)):
        if chunk.choices[0].finish_reason is not None:
            break
    stream.close()
    assert mine.chat.completions.retrieve(chunk.id).choices[0].finish_reason == chunk.choices[0].finish_reason


def test_chats_are_listed_by_model_and_metadata_page_by_page(mine: openai.OpenAI) -> None:
    labels = [
        {"team": "cards", "lang": "en"},
        {"team": "cards"},
        {"team": "loans", "lang": "en"},
        {},
        {"team": "cards"},
    ]
    made = [ask(mine, metadata=metadata).id for metadata in labels]
    assert ids(mine.chat.completions.list(limit=2)) == made
    assert ids(mine.chat.completions.list(limit=2, order="desc")) == made[::-1]
    page = mine.chat.completions.list(limit=2, after=made[1])
    assert (ids(page.data), page.has_more) == (made[2:4], True)
    assert ids(mine.chat.completions.list(metadata={"team": "cards"}, limit=1)) == [made[0], made[1], made[4]]
    assert ids(mine.chat.completions.list(metadata={"team": "cards", "lang": "en"})) == [made[0]]
    assert ids(mine.chat.completions.list(model="base", metadata={"lang": "en"})) == [made[0], made[2]]
    assert ids(mine.chat.completions.list(model="another")) == []
    mine.chat.completions.delete(made[1])
    assert ids(mine.chat.completions.list(limit=1)) == [made[0], *made[2:]]
    with pytest.raises(openai.BadRequestError):
        mine.chat.completions.list(after=made[1])
    with pytest.raises(openai.BadRequestError):
        mine.chat.completions.list(limit=0)


def test_metadata_is_replaced_and_its_size_bounded(mine: openai.OpenAI) -> None:
    answer = ask(mine, metadata={"team": "cards"})
    assert mine.chat.completions.update(answer.id, metadata={"rated": "yes"}).to_dict()["metadata"] == {"rated": "yes"}
    assert ids(mine.chat.completions.list(metadata={"team": "cards"})) == []
    assert ids(mine.chat.completions.list(metadata={"rated": "yes"})) == [answer.id]
    assert mine.chat.completions.retrieve(answer.id).choices == answer.choices
    assert mine.chat.completions.update(answer.id, metadata=None).to_dict()["metadata"] == {}
    for wrong in ({"k": "x" * 513}, {"k" * 65: "x"}, {str(number): "x" for number in range(17)}):
        with pytest.raises(openai.BadRequestError) as caught:
            mine.chat.completions.update(answer.id, metadata=wrong)
        assert str(caught.value.param).startswith("metadata")
        with pytest.raises(openai.BadRequestError):
            ask(mine, metadata=wrong)
    assert mine.chat.completions.retrieve(answer.id).to_dict()["metadata"] == {}


def test_messages_are_given_back_as_they_were_sent(mine: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    parts = [{"type": "text", "text": "What "}, {"type": "text", "text": "time?"}]
    messages = [
        {"role": "developer", "content": "Short.", "name": "boss"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "12:00", "tool_call_id": "call_1"},
    ]
    answer = ask(mine, messages=messages)
    found = list(mine.chat.completions.messages.list(answer.id, limit=3))
    assert ids(found) == [f"{answer.id}-{index}" for index in range(4)]
    assert [one.role for one in found] == ["developer", "user", "assistant", "tool"]
    assert [one.content for one in found] == ["Short.", "What time?", None, "12:00"]
    assert [part.to_dict() for part in found[1].content_parts or ()] == parts
    assert found[2].tool_calls is not None
    assert found[2].tool_calls[0].to_dict() == call
    assert found[3].to_dict()["tool_call_id"] == "call_1"
    backwards = mine.chat.completions.messages.list(answer.id, limit=1, order="desc")
    assert ids(backwards) == ids(found)[::-1]
    with pytest.raises(openai.BadRequestError):
        mine.chat.completions.messages.list(answer.id, after="nobody")


def test_a_deleted_chat_is_gone(mine: openai.OpenAI) -> None:
    answer = ask(mine)
    gone = mine.chat.completions.delete(answer.id)
    assert (gone.id, gone.deleted, gone.object) == (answer.id, True, "chat.completion.deleted")
    for deed in (mine.chat.completions.retrieve, mine.chat.completions.delete, mine.chat.completions.messages.list):
        with pytest.raises(openai.NotFoundError) as caught:
            deed(answer.id)
        assert caught.value.code == "not_found"


def test_another_project_has_no_part_in_it(mine: openai.OpenAI, theirs: openai.OpenAI) -> None:
    answer = ask(mine, metadata={"team": "cards"})
    chats = theirs.chat.completions
    for deed in (chats.retrieve, chats.delete, chats.messages.list, lambda one: chats.update(one, metadata={})):
        with pytest.raises(openai.NotFoundError):
            deed(answer.id)
    with pytest.raises(openai.BadRequestError):
        chats.list(after=answer.id)
    assert ids(chats.list()) == ids(chats.list(model="base")) == ids(chats.list(metadata={"team": "cards"})) == []
    assert ids(mine.chat.completions.list(metadata={"team": "cards"})) == [answer.id]
