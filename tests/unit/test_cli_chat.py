"""tunesmith chat, and the server process it starts, against small servers that speak real HTTP."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from typer.testing import CliRunner

from tunesmith.cli import server_process
from tunesmith.cli.main import app
from tunesmith.cli.server_process import running_server
from tunesmith.errors import EngineError


class Parrot(BaseHTTPRequestHandler):
    """Answers with the last message, word by word; knows only the model `parrot`."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["model"] == "silent":
            return self._send(500, b"<html>oops</html>")
        if body["model"] != "parrot":
            error = {"message": f"no model {body['model']}", "type": "t", "param": None, "code": "model_not_found"}
            return self._send(404, json.dumps({"error": error}).encode())
        words = body["messages"][-1]["content"].split()
        events: list[object] = [{"choices": [{"delta": {"role": "assistant"}}]}]
        events += [{"choices": [{"delta": {"content": f"{word} "}}]} for word in words]
        if "crash" in words:
            events.append({"error": {"message": "lost the thread"}})
        stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + ": ping\n\ndata: [DONE]\n\n"
        return self._send(200, stream.encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url():
    server = HTTPServer(("127.0.0.1", 0), Parrot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def call(*arguments: str, typed: str | None = None):
    return CliRunner().invoke(app, ["chat", *arguments], input=typed)


def test_one_message(url):
    assert call("parrot", "--url", url, "--message", "good morning").stdout == "good morning \n"
    shown = json.loads(call("parrot", "--url", url, "-m", "good morning", "--json").stdout)
    assert shown == {"model": "parrot", "message": "good morning", "answer": "good morning "}


def test_a_conversation_until_the_end_of_input(url):
    result = call("parrot", "--url", url, typed="hello\n\nbye\n")
    assert result.exit_code == 0
    assert "hello \n" in result.stdout
    assert "bye \n" in result.stdout


@pytest.mark.parametrize(
    ("model", "message", "shown"),
    [
        ("eagle", "hi", "no model eagle"),
        ("silent", "hi", "The server answered 500: <html>oops</html>"),
        ("parrot", "crash now", "lost the thread"),
    ],
)
def test_what_the_server_refuses_is_shown(url, model, message, shown):
    result = call(model, "--url", url, "-m", message)
    assert result.exit_code == 1
    assert shown in result.stderr


def test_nobody_listens():
    result = call("parrot", "--url", "http://127.0.0.1:9", "-m", "hi")
    assert result.exit_code == 1
    assert "Is it running? tunesmith serve" in result.stderr


def test_json_needs_a_message(url):
    assert call("parrot", "--url", url, "--json").exit_code == 2


def test_an_unknown_release_is_refused_before_a_server_is_started(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    result = call("parrot", "-m", "hi")
    assert result.exit_code == 1
    assert "no release 'parrot'" in result.stderr


HEALTHY = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_runs_as_long_as_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(server_process, "_SERVE", (sys.executable, "-c", HEALTHY))
    with running_server(tmp_path) as server:
        assert httpx.get(f"{server.address}/health", trust_env=False).status_code == 200
        assert len(server.key) > 40
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.address}/health", trust_env=False)


def test_a_server_that_does_not_start_shows_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(server_process, "_SERVE", (sys.executable, "-c", "import sys; sys.exit('no weights')"))
    with pytest.raises(EngineError, match="stopped while starting") as caught, running_server(tmp_path):
        pass
    assert caught.value.hint == "no weights"


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(server_process, "_SERVE", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(server_process, "_START_SECONDS", 0.5)
    with pytest.raises(EngineError, match="did not come up"), running_server(tmp_path):
        pass
