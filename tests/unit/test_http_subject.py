"""Asking a server: the official wire format, what is asked again, what is left out, what is an error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.backoff import Backoff, retry_after_seconds
from tunesmith.evaluate.http_subject import Address, HttpSubject
from tunesmith.evaluate.prompting import Prompting, few_shot
from tunesmith.evaluate.subject import Asked, Reply
from tunesmith.types.conversation import FunctionCall, Message, ToolCall
from tunesmith.types.suite import Item

USER = Message(role="user", content="Capital of France?")
ITEM = Item(id="1", type="qa", messages=(USER,))
ADDRESS = Address("http://127.0.0.1:9/v1", "m")
FAST = Backoff(retries=3, first_seconds=0.001, longest_seconds=0.002)


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish, **more}]
    usage = more.get("usage")
    return "data: " + json.dumps({"object": "chat.completion.chunk", "choices": choices, "usage": usage}) + "\n\n"


def stream(*events: str) -> httpx.Response:
    return httpx.Response(200, text="".join(events) + "data: [DONE]\n\n")


PARIS = (
    event({"role": "assistant", "content": ""}),
    ": keep-alive\n\n",
    event({"content": "Par"}, logprobs={"content": [{"token": "Par", "logprob": -0.5}]}),
    event({"content": "is"}, logprobs={"content": [{"token": "is", "logprob": -0.25}]}),
    event({}, "stop"),
    event(usage={"prompt_tokens": 12, "completion_tokens": 3}),
)


class Server:
    """Answers each request with the next of `responses` (the last one again and again) and remembers the bodies."""

    def __init__(self, *responses: httpx.Response | Exception | Callable[[], httpx.Response]) -> None:
        self.responses = list(responses)
        self.requests: list[httpx.Request] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        found = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, httpx.Response) else found()


def ask(server: Server, *, times: int = 1, item: Item = ITEM, **options: Any) -> Reply:
    async def asking() -> Reply:
        address = options.pop("address", ADDRESS)
        prompting = options.pop("prompting", Prompting())
        transport = httpx.MockTransport(server)
        async with HttpSubject("m", address, prompting, backoff=FAST, transport=transport) as subject:
            for _ in range(times):
                reply = await subject.answer(item, item.messages, Asked(**options))
            return reply

    return asyncio.run(asking())


def test_the_wire_format_is_the_official_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-1")
    server = Server(stream(*PARIS))
    reply = ask(server, max_new_tokens=7, seed=3, address=ADDRESS._replace(key_variable="OTHER_KEY"))
    (request,) = server.requests
    assert str(request.url) == "http://127.0.0.1:9/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-1"
    assert server.bodies[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "Capital of France?"}],
        "temperature": 0.0,
        "max_tokens": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
        "logprobs": True,
        "seed": 3,
    }
    assert (reply.text, reply.tokens, reply.prompt_tokens, reply.finish_reason) == ("Paris", 3, 12, "stop")
    assert reply.logprobs == (-0.5, -0.25)
    assert 0 <= reply.first_token_seconds <= reply.seconds


def test_tool_calls_come_in_pieces() -> None:
    def piece(**call: Any) -> str:
        return event({"tool_calls": [call]})

    server = Server(
        stream(
            piece(index=0, id="a", type="function", function={"name": "look_up", "arguments": ""}),
            piece(index=0, function={"arguments": '{"id": '}),
            piece(index=1, id="b", type="function", function={"name": "close", "arguments": "{}"}),
            piece(index=0, function={"arguments": "7}"}),
            event({}, "tool_calls"),
        )
    )
    offered = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    function = {"name": "f", "arguments": "{}"}
    called = Message(role="assistant", tool_calls=(ToolCall(id="x", function=FunctionCall(**function)),))
    result = Message(role="tool", content="42", tool_call_id="x")
    item = Item(id="1", type="tool_call", messages=(USER, called, result), tools=(offered,))
    reply = ask(server, item=item)
    assert reply.calls == ({"name": "look_up", "arguments": '{"id": 7}'}, {"name": "close", "arguments": "{}"})
    assert server.bodies[0]["tools"] == [offered]
    assert server.bodies[0]["messages"][1:] == [
        {"role": "assistant", "tool_calls": [{"id": "x", "type": "function", "function": function}]},
        {"role": "tool", "content": "42", "tool_call_id": "x"},
    ]


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(429, headers={"retry-after": "0"}, text="busy"),
        httpx.Response(503, text="later"),
        httpx.ConnectError("gone"),
        httpx.Response(200, text=event({"content": "Par"})),
        httpx.Response(200, text='data: {"error": {"message": "broken"}}\n\n'),
    ],
)
def test_what_may_pass_is_asked_again(trouble: httpx.Response | Exception) -> None:
    server = Server(trouble, stream(*PARIS))
    assert ask(server).text == "Paris"
    assert len(server.requests) == 2


def test_after_all_retries_the_last_reason_is_told() -> None:
    server = Server(lambda: httpx.Response(500, json={"error": {"message": "out of memory"}}))
    with pytest.raises(EvaluationError, match=r"status 500: out of memory \(asked 4 times\)"):
        ask(server)
    assert len(server.requests) == 4


def test_a_refusal_is_not_asked_again_and_names_the_key() -> None:
    server = Server(httpx.Response(401, json={"error": {"message": "no key", "param": None}}))
    with pytest.raises(EvaluationError, match="status 401") as caught:
        ask(server)
    assert "OPENAI_API_KEY" in (caught.value.hint or "")
    assert len(server.requests) == 1


def test_refused_fields_are_left_out_from_then_on() -> None:
    def refusal(field: str) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": f"{field} is not supported", "param": field}})

    server = Server(refusal("logprobs"), refusal("max_tokens"), lambda: stream(*PARIS))
    assert ask(server, times=2).text == "Paris"
    assert len(server.requests) == 4
    for body in server.bodies[2:]:
        assert "logprobs" not in body
        assert "max_tokens" not in body
        assert body["max_completion_tokens"] == 256


def test_requests_that_are_refused_together_are_all_asked_again() -> None:
    """Five are in flight when the server first says that it knows no `logprobs`: none of them is lost."""
    refused: list[str] = []

    async def answer(subject: HttpSubject, number: int) -> str:
        asked = Asked(max_new_tokens=number)
        return (await subject.answer(ITEM, ITEM.messages, asked)).text

    async def asking() -> list[str]:
        all_there = asyncio.Event()

        async def serve(request: httpx.Request) -> httpx.Response:
            if b'"logprobs"' not in request.content:
                return stream(*PARIS)
            refused.append("logprobs")
            if len(refused) == 5:
                all_there.set()
            await all_there.wait()
            return httpx.Response(400, json={"error": {"message": "unknown field", "param": "logprobs"}})

        async with HttpSubject("m", ADDRESS, backoff=FAST, transport=httpx.MockTransport(serve)) as subject:
            return list(await asyncio.gather(*(answer(subject, number) for number in range(1, 6))))

    assert asyncio.run(asking()) == ["Paris"] * 5
    assert len(refused) == 5


def test_any_other_bad_field_is_an_error() -> None:
    server = Server(httpx.Response(400, json={"error": {"message": "too hot", "param": "temperature"}}))
    with pytest.raises(EvaluationError, match="too hot"):
        ask(server, temperature=2.0)


def test_the_wait_grows_and_obeys_the_server() -> None:
    policy = Backoff(first_seconds=1, longest_seconds=5)
    for attempt, whole in ((1, 1), (2, 2), (3, 4), (4, 5), (9, 5)):  # 1, 2, 4, then the longest
        assert whole / 2 <= policy.wait_seconds(attempt, None) <= whole
    assert policy.wait_seconds(1, 3.0) == 3.0
    assert policy.wait_seconds(1, 300.0) == 5
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < (retry_after_seconds(format_datetime(soon, usegmt=True)) or 0) <= 30
    assert retry_after_seconds("1.5") == 1.5
    assert retry_after_seconds("soon") is None
    assert retry_after_seconds(None) is None


class ByteRenderer:
    """One id per byte; the end of a turn is 256."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> tuple[int, ...]:
        return tuple("".join(message.content or "" for message in messages).encode())

    def answer_ids(self, text: str) -> tuple[int, ...]:
        return (*text.encode(), 256)


def test_a_given_answer_is_scored_behind_its_prompt() -> None:
    prompt = len("Capital of France?")
    scores: list[float | None] = [None, *[-9.0] * (prompt - 1), -1.0, -2.0, -0.5]
    server = Server(httpx.Response(200, json={"choices": [{"logprobs": {"token_logprobs": scores}}]}))

    async def scoring(address: Address) -> tuple[float, int] | None:
        async with HttpSubject("m", address, transport=httpx.MockTransport(server)) as subject:
            return await subject.logprob(ITEM, "ab")

    assert asyncio.run(scoring(ADDRESS._replace(renderer=ByteRenderer()))) == (-3.5, 3)
    (body,) = server.bodies
    assert body["prompt"] == [*b"Capital of France?", *b"ab", 256]
    assert (body["max_tokens"], body["echo"], body["logprobs"]) == (0, True, 0)
    assert asyncio.run(scoring(ADDRESS)) is None
    server.responses = [httpx.Response(404, json={"error": {"message": "no such path"}})]
    assert asyncio.run(scoring(ADDRESS._replace(renderer=ByteRenderer()))) is None


def test_prompts_and_examples_stand_where_they_belong() -> None:
    system = Message(role="system", content="own")
    shots = few_shot([Item(id=str(n), type="qa", messages=(USER,), reference=f"a{n}") for n in range(5)], 2)
    assert [message.role for message in shots] == ["user", "assistant"] * 2
    assert shots == few_shot([Item(id=str(n), type="qa", messages=(USER,), reference=f"a{n}") for n in range(5)], 2)

    def roles(prompting: Prompting, *messages: Message) -> list[str | None]:
        return [message.content for message in prompting.applied(messages)]

    assert roles(Prompting(), system, USER) == ["own", USER.content]
    assert roles(Prompting(own_system=False), system, USER) == [USER.content]
    assert roles(Prompting(system="given"), USER) == ["given", USER.content]
    assert roles(Prompting(system="given"), system, USER) == ["own", USER.content]
    assert roles(Prompting(system="given", own_system=False), system, USER) == ["given", USER.content]
    assert roles(Prompting(examples=shots), system, USER) == ["own", *[each.content for each in shots], USER.content]
