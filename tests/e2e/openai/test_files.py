"""/v1/files with the official client, against a server started as a user starts it."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.e2e.openai.conftest import start_server

ANSWERED = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, José"}]}
ASKED = {"messages": [{"role": "user", "content": "2 + 2?"}], "answer": "4"}
COMPARED = {
    "input": {"messages": [{"role": "user", "content": "Hi"}]},
    "preferred_output": [{"role": "assistant", "content": "Hello"}],
    "non_preferred_output": [{"role": "assistant", "content": "What"}],
}
COMPLETED = {"prompt": "Hi", "completion": "Hello"}
REQUEST = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "base"}}


def jsonl(*rows: Any) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def send(client: openai.OpenAI, content: bytes, purpose: Any = "fine-tune", **options: Any) -> Any:
    name = options.pop("name", "rows.jsonl")
    return client.files.create(file=(name, content), purpose=purpose, **options)


def headers(server: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {server.key}"}


@pytest.mark.parametrize("row", [ANSWERED, ASKED, COMPARED, COMPLETED], ids=["chat", "graded", "dpo", "completion"])
def test_a_training_file_of_each_form_comes_back_as_it_was_sent(client: openai.OpenAI, row: dict[str, Any]) -> None:
    content = b"\xef\xbb\xbf" + jsonl(row, row).replace(b"\n", b"\r\n") + b"\r\n"  # as Windows writes it
    sent = send(client, content)
    assert sent.id.startswith("file-")
    assert (sent.object, sent.bytes, sent.filename) == ("file", len(content), "rows.jsonl")
    assert (sent.purpose, sent.status, sent.expires_at) == ("fine-tune", "processed", None)
    assert abs(sent.created_at - time.time()) < 60
    assert client.files.retrieve(sent.id) == sent
    assert client.files.wait_for_processing(sent.id) == sent
    assert client.files.content(sent.id).read() == content
    gone = client.files.delete(sent.id)
    assert (gone.id, gone.object, gone.deleted) == (sent.id, "file", True)
    for action in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {sent.id}"):
            action(sent.id)


def test_other_purposes_take_any_bytes(client: openai.OpenAI) -> None:
    content = bytes(range(256)) * 5000
    for purpose in ("assistants", "vision", "user_data", "evals"):
        sent = send(client, content, purpose)
        assert sent.purpose == purpose
        assert client.files.content(sent.id).read() == content


WRONG: list[tuple[str, bytes, str, str]] = [
    ("fine-tune", jsonl(ANSWERED, ANSWERED) + b"[1]\n", "Line 3", "must be a JSON object"),
    ("fine-tune", jsonl(ANSWERED) + b'{"messages": [\n', "Line 2", "is not JSON"),
    ("fine-tune", b'{"messages": NaN}\n', "Line 1", "NaN is no JSON number"),
    ("batch", b'{"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {"a": 1e999}}\n', "1", "JSON"),
    ("fine-tune", b'{"prompt": "\\ud800", "completion": "x"}\n', "Line 1", "lone surrogate"),
    ("fine-tune", jsonl(COMPLETED) + b"\xff\xfe\n", "Line 2", "is not UTF-8"),
    ("fine-tune", b"[" * 100_000 + b"\n", "Line 1", "nested too deeply"),
    ("fine-tune", b'{"prompt": ' + b"9" * 5000 + b"}\n", "Line 1", "is not JSON that can be read"),
    ("fine-tune", jsonl({"text": "x"}), "Line 1", "is no training example: it has 'text'"),
    ("fine-tune", jsonl(COMPLETED, {"prompt": "Hi"}), "Line 2", "completion: is missing"),
    ("fine-tune", jsonl(ANSWERED, ASKED), "Line 2", "messages: there is no assistant message"),
    (
        "fine-tune",
        jsonl({"messages": [{"role": "bot", "content": "x"}, *ANSWERED["messages"]]}),
        "Line 1",
        "messages[0].role: 'bot' is not a role",
    ),
    ("fine-tune", jsonl({**COMPARED, "preferred_output": []}), "Line 1", "preferred_output"),
    ("fine-tune", b"", "", "The file is empty"),
    ("fine-tune", b"\n \n", "", "holds no line"),
    ("batch", jsonl(REQUEST, REQUEST), "Line 2", "custom_id: 'a' is the one of an earlier request"),
    ("batch", jsonl({**REQUEST, "method": "GET"}), "Line 1", "method: must be 'POST'"),
    ("batch", jsonl({**REQUEST, "url": "/v1/files"}), "Line 1", "url: must be one of /v1/chat/completions"),
    ("batch", jsonl({**REQUEST, "body": "x"}), "Line 1", "body: must be an object, is a text"),
    ("batch", jsonl({"custom_id": "a"}), "Line 1", "method: is missing"),
    ("batch", jsonl({**REQUEST, "bodi": {}}), "Line 1", "bodi: is not a known key -> did you mean 'body'?"),
]


@pytest.mark.parametrize(("purpose", "content", "line", "what"), WRONG, ids=[what for *_, what in WRONG])
def test_what_is_wrong_is_named_by_line_and_field_and_not_kept(
    client: openai.OpenAI, purpose: str, content: bytes, line: str, what: str
) -> None:
    before = [file.id for file in client.files.list()]
    with pytest.raises(openai.BadRequestError) as caught:
        send(client, content, purpose)
    assert line in caught.value.message
    assert what in caught.value.message
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", "file")
    assert caught.value.code in ("invalid_file_format", "empty_file")
    assert [file.id for file in client.files.list()] == before


def test_a_batch_file_has_at_most_50000_requests(client: openai.OpenAI) -> None:
    rows = [{**REQUEST, "custom_id": str(number)} for number in range(50_001)]
    assert send(client, jsonl(*rows[:-1]), "batch").purpose == "batch"
    with pytest.raises(openai.BadRequestError, match="50,000 requests"):
        send(client, jsonl(*rows), "batch")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"purpose": "batch_output"}, "purpose"),
        ({"purpose": "finetune"}, "purpose"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "created_at", "seconds": 2592001}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "last_active_at", "seconds": 3600}}, "expires_after.anchor"),
        ({"extra_body": {"color": "red"}}, "color"),
        ({"name": "x" * 256}, "file"),
    ],
)
def test_a_wrong_field_is_named(client: openai.OpenAI, options: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        send(client, jsonl(COMPLETED), **options)
    assert caught.value.param == param


def test_names_are_data(client: openai.OpenAI, server: Any) -> None:
    for name in ("../../etc/passwd", "C:rows.jsonl", "/root/x", "..", "naïve – 数据.jsonl", "a;b='c'", "%2e%2e%2f"):
        sent = send(client, jsonl(COMPLETED), name=name)
        assert sent.filename == name
        assert client.files.retrieve(sent.id).filename == name
    assert not [path for path in server.home.rglob("*") if "passwd" in path.name or "rows" in path.name]


def test_a_file_expires(client: openai.OpenAI) -> None:
    sent = send(client, jsonl(COMPLETED), expires_after={"anchor": "created_at", "seconds": 3600})
    assert sent.expires_at is not None
    assert abs(sent.expires_at - sent.created_at - 3600) <= 1
    assert client.files.retrieve(sent.id).expires_at == sent.expires_at


def test_lists_are_paged_and_filtered(client: openai.OpenAI) -> None:
    newest = [send(client, jsonl(COMPLETED), name=f"{number}.jsonl").id for number in range(5)][::-1]
    batch = send(client, jsonl(REQUEST), "batch").id
    everything = [file.id for file in client.files.list()]
    assert everything[:6] == [batch, *newest]
    assert [file.id for file in client.files.list(limit=2)] == everything  # the client pages on by itself
    first = client.files.list(limit=2)
    assert (len(first.data), first.has_more) == (2, True)
    assert [file.id for file in client.files.list(purpose="fine-tune", limit=100)][:5] == newest
    assert [file.id for file in client.files.list(order="asc")] == everything[::-1]
    assert [file.id for file in client.files.list(after=newest[3], limit=1).data] == [newest[4]]
    for options in ({"limit": 0}, {"limit": 10_001}, {"after": "file-none"}, {"order": "up"}, {"purpose": "x"}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.files.list(**options)  # type: ignore[arg-type]
        assert caught.value.param == next(iter(options))


def test_examples_as_plain_json(client: openai.OpenAI) -> None:
    made: Any = client.post(
        "/files", cast_to=object, body={"examples": [COMPLETED, COMPLETED], "filename": "few.jsonl"}
    )
    assert (made["object"], made["purpose"], made["filename"]) == ("file", "fine-tune", "few.jsonl")
    assert client.files.content(made["id"]).read() == jsonl(COMPLETED, COMPLETED)
    wrong: list[tuple[Any, str]] = [
        ({"examples": [COMPLETED, {"prompt": 7, "completion": "x"}]}, "Line 2: prompt: must be a text"),
        ({"examples": []}, "examples"),
        ({"examples": [1]}, "examples[0]"),
        ({}, "examples"),
    ]
    for body, what in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            client.post("/files", cast_to=object, body=body)
        assert what in caught.value.message


BOUNDARY = "multipart/form-data; boundary=x"
FILE_PART = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n'
PURPOSE_PART = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "what"),
    [
        ("text/plain", b"x", "must be a form"),
        ("multipart/form-data", b"x", "must be a form"),
        (BOUNDARY, b"", "breaks off"),
        (BOUNDARY, b"rubbish", "no valid form"),
        (BOUNDARY, FILE_PART + PURPOSE_PART, "breaks off"),
        (BOUNDARY, PURPOSE_PART + b"--x--\r\n", "Missing required parameter: 'file'"),
        (BOUNDARY, FILE_PART + b"--x--\r\n", "Missing required parameter: 'purpose'"),
        (BOUNDARY, FILE_PART + FILE_PART + PURPOSE_PART + b"--x--\r\n", "more than one part named 'file'"),
        (BOUNDARY, FILE_PART.replace(b'; filename="a"', b"") + b"--x--\r\n", "give the part a filename"),
        ("application/json", b"{", "not valid JSON"),
        ("application/json", b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_body_that_is_no_form_is_refused(server: Any, kind: str, body: bytes, what: str) -> None:
    answer = httpx.post(f"{server.url}/files", content=body, headers={**headers(server), "content-type": kind})
    assert answer.status_code == 400
    assert what in answer.json()["error"]["message"]
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "identity", ["..", "../files", "file-%00", "%00", "file-😀", "file-" + "a" * 3000, "a/b", "%2e"]
)
def test_strange_ids_are_unknown(server: Any, identity: str) -> None:
    quoted = identity.replace("/", "%2F").replace("..", "%2e%2e")
    for method, place in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        answer = httpx.request(method, f"{server.url}/files/{quoted}{place}", headers=headers(server))
        assert answer.status_code in (404, 405), (method, place, answer.text)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_an_upload_cut_half_way_leaves_nothing(client: openai.OpenAI, server: Any) -> None:
    before = sorted(path.name for path in (server.home / "files").iterdir())
    place = urlsplit(server.url)
    start = f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\n"
    start += f"content-type: {BOUNDARY}\r\ncontent-length: 10000000\r\n\r\n"
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(start.encode() + FILE_PART + b"x" * 200_000)
        wait_for(lambda: len(list((server.home / "files").iterdir())) == len(before) + 1)
    wait_for(lambda: sorted(path.name for path in (server.home / "files").iterdir()) == before)
    assert client.models.list().data


def wait_for(holds: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def test_a_full_disk_is_told_and_leaves_nothing(tiny_base: Path, tmp_path: Path) -> None:
    with start_server(tmp_path / "home", tiny_base, "--backend", "echo") as running, running.client() as client:
        kept = send(client, jsonl(COMPLETED))
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
        with pytest.raises(openai.InternalServerError) as caught:
            send(client, b"x" * 3_000_000, "user_data")
        assert (caught.value.status_code, caught.value.code) == (507, "disk_full")
        assert [file.id for file in client.files.list()] == [kept.id]
        names = [path.name for path in (running.home / "files").iterdir() if path.name != ".lock"]
        assert len(names) == 1
        assert client.files.content(kept.id).read() == jsonl(COMPLETED)


def test_files_stay_when_the_server_is_killed(tiny_base: Path, tmp_path: Path) -> None:
    with start_server(tmp_path / "home", tiny_base, "--backend", "echo") as running, running.client() as client:
        sent = send(client, jsonl(COMPLETED))
        running.process.kill()
        running.process.wait()
    kept = tmp_path / "home" / "files"
    (kept / ("0" * 64)).write_bytes(b"left by a kill, which leaves the mark of its doubt")
    (kept / f".doubt-{'0' * 64}").touch()
    (kept / ("1" * 64)).write_bytes(b"of another database")
    with start_server(tmp_path / "home", tiny_base, "--backend", "echo") as running, running.client() as client:
        assert client.files.content(sent.id).read() == jsonl(COMPLETED)
        wait_for(lambda: not (kept / ("0" * 64)).exists())
        assert (kept / ("1" * 64)).is_file()


def test_curl_can_send_the_file_before_the_purpose(server: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(jsonl(COMPLETED))
    command = ["curl", "-sS", f"{server.url}/files", "-H", f"Authorization: Bearer {server.key}"]
    command += ["-F", f"file=@{tmp_path / 'rows.jsonl'}", "-F", "purpose=fine-tune"]
    command += ["-F", "expires_after[anchor]=created_at", "-F", "expires_after[seconds]=3600"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (found["filename"], found["bytes"]) == ("rows.jsonl", len(jsonl(COMPLETED)))
    assert found["expires_at"] > found["created_at"]


def test_the_example_of_the_documentation(server: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    page = (Path(__file__).parents[3] / "docs" / "api" / "files.md").read_text(encoding="utf-8")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out.endswith(" True\n")


def test_an_answer_of_the_api_can_be_kept_as_a_row(client: openai.OpenAI) -> None:
    """With all that comes beside its text: nulls and an empty list of annotations."""
    said: Any = [{"role": "user", "content": "Hi"}]
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer", "maximum": 9}}}
    answer = client.chat.completions.create(model="base", messages=said, response_format=form, max_tokens=100)
    message = answer.choices[0].message
    assert message.annotations == []
    row = json.dumps({"messages": [*said, message.model_dump()]}).encode()
    kept = client.files.create(file=("rows.jsonl", row), purpose="fine-tune")
    assert kept.status == "processed"
