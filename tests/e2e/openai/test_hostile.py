"""What no honest client sends: the server answers in its envelope, stays up and forgets it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import psutil
import pytest

from tests.e2e.openai.conftest import Running, start_server

ENVELOPE = {"message", "type", "param", "code"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with start_server(tmp_path_factory.mktemp("hostile"), tiny_base, "--backend", "echo") as running:
        yield running


@pytest.fixture
def web(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}, timeout=120) as client:
        yield client


def connect(server: Running) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=120)


def head(server: Running, path: str, *lines: str) -> bytes:
    first = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {server.key}", *lines]
    return "\r\n".join([*first, "", ""]).encode()


def wait_for(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def in_envelope(answer: httpx.Response) -> bool:
    return set(answer.json()["error"]) == ENVELOPE and "x-request-id" in answer.headers


IDS = [
    *(
        "..",
        "../..",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e",
        "....//",
        "a/b/c",
        "%2F",
        "/",
        "//",
        ".",
        "~",
        "*",
        "%",
    ),
    *("file-%00", "%00", "ünïcödé", "\U0001f600", "%ff%fe", "%c0%ae", "a" * 5_000, "'; DROP TABLE files;--", "${7*7}"),
]
PLACES = [
    "/models/{}",
    "/files/{}",
    "/files/{}/content",
    "/fine_tuning/jobs/{}",
    "/tunesmith/keys/{}",
    "/batches/{}",
    "/{}",
]


@pytest.mark.parametrize("place", PLACES)
def test_strange_ids_are_not_found(web: httpx.Client, place: str) -> None:
    for identity in IDS:
        for method in ("GET", "DELETE", "PATCH"):
            answer = web.request(method, place.format(identity))
            if answer.status_code == 200:  # `/files/` + `.` or `/` is the list itself
                assert answer.json()["object"] == "list", (method, identity)
                continue
            assert answer.status_code in (400, 404, 405), (method, identity, answer.text)
            assert in_envelope(answer), (method, identity, answer.text)
            assert "root:" not in answer.text


def test_methods_and_addresses_that_are_not_there(web: httpx.Client) -> None:
    wrong = web.put("/chat/completions", json={})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert in_envelope(wrong)
    nothing = web.get("/nothing")
    assert nothing.status_code == 404
    assert in_envelope(nothing)


BODIES = {
    "deep list": b'{"model": "base", "messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep tools": json.dumps({"model": "base", "messages": [], "tools": []}).encode()[:-2] + b"[" * 50_000,
    "long number": b'{"model": "base", "seed": ' + b"9" * 10_000 + b"}",
    "not a number": b'{"model": "base", "temperature": NaN, "messages": [{"role": "user", "content": "x"}]}',
    "infinity": b'{"model": "base", "temperature": 1e999, "messages": [{"role": "user", "content": "x"}]}',
    "zero bytes": b"\0" * 1000,
    "no utf-8": b'{"model": "\xff\xfe"}',
    "surrogate": b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}',
    "nul in the name": b'{"model": "a\\u0000b", "messages": [{"role": "user", "content": "x"}]}',
    "many keys": json.dumps({f"k{index}": index for index in range(20_000)}).encode(),
    "same key twice": b'{"model": "base", "model": 5, "messages": []}',
    "a string": b'"hello"',
    "null": b"null",
    "nothing": b"",
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_bombs_or_nonsense(web: httpx.Client, name: str) -> None:
    began = time.monotonic()
    for path in ("/chat/completions", "/tunesmith/keys", "/fine_tuning/jobs", "/files"):
        answer = web.post(path, content=BODIES[name], headers=JSON)
        assert answer.status_code in (400, 404, 405, 413), (path, answer.text[:500])
        assert in_envelope(answer)
        assert len(answer.content) < 5_000
    assert time.monotonic() - began < 60


def test_headers_that_never_end_are_hung_up_on(server: Running) -> None:
    """A slow loris: one header byte every now and then, on many connections."""
    began = time.monotonic()
    with connect(server) as silent, connect(server) as slow:
        ended = threading.Event()

        def drip() -> None:
            try:
                slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\n")
                while not ended.wait(0.5):
                    slow.sendall(b"X-a: b\r\n")
            except OSError:
                pass  # hung up on, as it should be

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert silent.recv(100) == b""
            try:
                rest = slow.recv(1000)
            except ConnectionResetError:
                rest = b""
            assert rest == b""
            assert 10 < time.monotonic() - began < 90
        finally:
            ended.set()
            thread.join()
    assert server.process.poll() is None


def test_many_slow_clients_keep_nobody_else_waiting(server: Running, web: httpx.Client) -> None:
    opened = [connect(server) for _ in range(300)]
    try:
        for one in opened:
            one.sendall(
                head(server, "/v1/chat/completions", "Content-Length: 1000000", "Content-Type: application/json")
            )
        began = time.monotonic()
        body = {"model": "base", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        assert web.post("/chat/completions", json=body).status_code == 200
        assert time.monotonic() - began < 15
    finally:
        for one in opened:
            one.close()


@pytest.mark.parametrize("times", [100])
def test_clients_that_leave_leave_nothing_behind(server: Running, web: httpx.Client, times: int) -> None:
    body = json.dumps(
        {"model": "base", "messages": [{"role": "user", "content": "hi " * 200}], "stream": True}
    ).encode()
    process = psutil.Process(server.process.pid)
    request = (
        head(server, "/v1/chat/completions", f"Content-Length: {len(body)}", "Content-Type: application/json") + body
    )
    for _ in range(times):
        with connect(server) as leaving:
            leaving.sendall(request)
            leaving.recv(50)
    wait_for(lambda: len(process.net_connections()) < 20)
    assert web.get("/models").status_code == 200


def test_an_upload_that_is_cut_half_way_is_no_file(server: Running, web: httpx.Client) -> None:
    before = web.get("/files").json()["data"]
    files = server.home / "files"
    kept = {path for path in files.rglob("*") if path.is_file()}
    boundary = "cut"
    part = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--{boundary}\r\n'
        'Content-Disposition: form-data; name="file"; filename="../../evil.jsonl"\r\n\r\n'
    ).encode()
    with connect(server) as leaving:
        kind = f"Content-Type: multipart/form-data; boundary={boundary}"
        leaving.sendall(
            head(server, "/v1/files", "Content-Length: 50000000", kind) + part + b'{"messages": []}\n' * 100_000
        )
    time.sleep(1)  # so that the server has seen it go
    wait_for(lambda: {path for path in files.rglob("*") if path.is_file()} == kept)
    assert web.get("/files").json()["data"] == before
    with server.client() as client, pytest.raises(openai.NotFoundError):
        client.files.retrieve("file-none")


def test_requests_that_are_no_http(server: Running, web: httpx.Client) -> None:
    endless = b"GET / HTTP/1.1\r\n" + b"X-a: b\r\n" * 200_000
    garbage = (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 5000, b"A" * 200_000)
    for nonsense in (*garbage, endless):
        with connect(server) as one:
            one.settimeout(3)
            try:
                one.sendall(nonsense)
                said = one.recv(2000)
            except (TimeoutError, ConnectionError):
                said = b""
            assert said[:10] in (b"", b"HTTP/1.1 4")
    smuggled = head(server, "/v1/chat/completions", "Content-Length: 5", "Transfer-Encoding: chunked")
    with connect(server) as one:
        one.sendall(smuggled + b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n")
        one.settimeout(60)
        assert one.recv(4000).startswith(b"HTTP/1.1 400")
    assert web.get("/models").status_code == 200


def test_the_log_has_no_key_and_no_prompt(tiny_base: Path, tmp_path: Path) -> None:
    """Everything the server says, with everything going wrong, through the same stderr a user would keep."""
    import os
    import subprocess
    import sys

    log = tmp_path / "log"
    key = "sk-tunesmith-this-must-not-be-shown"
    environment = {**os.environ, "TUNESMITH_HOME": str(tmp_path / "home"), "TUNESMITH_ADMIN_KEY": key}
    command = [sys.executable, "-m", "tunesmith.cli.main", "serve", "--base", str(tiny_base), "--backend", "echo"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, "--port", "0"], stdout=stream, stderr=stream, env=environment)
        try:
            url = _url_in(log)
            for given in (key, "sk-wrong-and-not-to-be-shown-either"):
                with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {given}"}) as client:
                    body: Any = {"model": "base", "messages": [{"role": "user", "content": "rumpelstilzchen"}]}
                    client.post("/chat/completions", json=body)
                    client.post("/chat/completions", json={**body, "temperature": "rumpelstilzchen"})
                    client.post("/chat/completions?api_key=" + given, content=b"{" + given.encode())
                    client.get("/models/" + given)
        finally:
            process.terminate()
            process.wait(timeout=60)
    said = log.read_text(errors="replace")
    assert "not-be-shown" not in said
    assert "not-to-be-shown" not in said
    assert "rumpelstilzchen" not in said


def _url_in(log: Path) -> str:
    for _ in range(600):
        for word in log.read_text().split():
            if word.startswith("http://"):
                return word
        time.sleep(0.1)
    raise AssertionError(log.read_text())


HALF = "\ud800"
ENDLESS = {"type": "function", "name": "f", "parameters": {"type": "object", "default": float("inf")}}
NO_TEXT: dict[str, tuple[str, dict[str, Any]]] = {
    "completion": ("/completions", {"model": HALF, "prompt": "x"}),
    "prompt": ("/completions", {"model": "base", "prompt": HALF}),
    "embedding": ("/embeddings", {"model": HALF, "input": "x"}),
    "response": ("/responses", {"model": HALF, "input": "x"}),
    "input": ("/responses", {"model": "base", "input": HALF}),
    "metadata": ("/responses", {"model": "base", "input": "x", "metadata": {"k": HALF}}),
    "tool": ("/responses", {"model": "base", "input": "x", "tools": [ENDLESS]}),
    "previous": ("/responses", {"model": "base", "input": "x", "previous_response_id": HALF}),
    "job": ("/fine_tuning/jobs", {"model": HALF, "training_file": "file-1"}),
    "job's file": ("/fine_tuning/jobs", {"model": "base", "training_file": HALF}),
    "batch": ("/batches", {"input_file_id": HALF, "endpoint": "/v1/embeddings", "completion_window": "24h"}),
    "moderation": ("/moderations", {"input": "x", "model": HALF}),
    "upload": ("/uploads", {"bytes": 1, "filename": "a", "mime_type": HALF, "purpose": "batch"}),
    "key": ("/tunesmith/keys", {"name": HALF}),
}


@pytest.mark.parametrize("name", NO_TEXT)
def test_what_is_no_text_and_no_number_is_refused(web: httpx.Client, name: str) -> None:
    path, body = NO_TEXT[name]
    answer = web.post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code == 400, answer.text[:300]
    assert in_envelope(answer)
