"""tunesmith chat: talk to a release, over the same HTTP interface that clients use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import show_json
from tunesmith.errors import EngineError, NotFound

__all__ = ["ask", "command"]


def command(
    name: Annotated[str, typer.Argument(help="A release: name, name@v3, name:alias.", show_default=False)],
    message: Annotated[str | None, typer.Option("--message", "-m", help="Ask this one thing and stop.")] = None,
    url: Annotated[str | None, typer.Option(help="A running server; without it one is started for the chat.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer; default: the release's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Talk to a release; with --message ask one thing and stop.

    The key for a server at --url is read from TUNESMITH_API_KEY or OPENAI_API_KEY.
    """
    if as_json and message is None:
        raise typer.BadParameter("--json needs --message")
    settings = read_settings()
    if url is None:
        from tunesmith.cli.server_process import running_server
        from tunesmith.release.registry import open_registry

        registry = open_registry(settings)
        registry.get(name)  # says at once, with the nearest match, when there is no such release
        registry.close()
        typer.secho("Starting a server for this chat ...", err=True, dim=True)
        server: Any = running_server(settings.home)
    else:
        address = url.removesuffix("/").removesuffix("/v1")
        server = nullcontext((address, os.environ.get("TUNESMITH_API_KEY") or os.environ.get("OPENAI_API_KEY")))
    with server as (address, key):
        body = {"model": name, "max_tokens": max_tokens} if max_tokens else {"model": name}
        if message is not None:
            question = {**body, "messages": [{"role": "user", "content": message}]}
            answer = _answer(ask(address, question, key), show=not as_json)
            if as_json:
                show_json({"model": name, "message": message, "answer": answer})
        else:
            _converse(lambda messages: ask(address, {**body, "messages": messages}, key))


def _converse(asking: Callable[[list[dict[str, str]]], Iterator[str]]) -> None:
    messages: list[dict[str, str]] = []
    typer.secho("Type a message; Ctrl-D ends the chat.", err=True, dim=True)
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            typer.echo()
            return
        if line:
            messages.append({"role": "user", "content": line})
            answer = _answer(asking(messages), show=True)
            messages.append({"role": "assistant", "content": answer})


def _answer(said: Iterator[str], *, show: bool) -> str:
    pieces = []
    for piece in said:
        pieces.append(piece)
        if show:
            typer.echo(piece, nl=False)
    if show:
        typer.echo()
    return "".join(pieces)


def ask(address: str, body: dict[str, Any], key: str | None = None) -> Iterator[str]:
    """Pieces of the answer to a chat-completion request as they arrive.

    Raises NotFound for an unknown model, EngineError when the server refuses, fails or cannot be reached.
    """
    import httpx

    timeout = httpx.Timeout(10, read=600)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with (
            httpx.Client(timeout=timeout, headers=headers, trust_env=False) as client,
            client.stream("POST", f"{address}/v1/chat/completions", json={**body, "stream": True}) as response,
        ):
            if response.status_code != 200:
                _refuse(response.status_code, response.read())
            for line in response.iter_lines():
                data = line.removeprefix("data: ")
                if data == line or data == "[DONE]":
                    continue
                event = json.loads(data)
                if event.get("error"):
                    raise EngineError(event["error"]["message"])
                yield from (choice["delta"].get("content") or "" for choice in event["choices"])
    except httpx.TransportError as error:
        raise EngineError(f"No answer from {address}: {error}", hint="Is it running? tunesmith serve") from error


def _refuse(status: int, body: bytes) -> None:
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"The server answered {status}: {body[:200].decode(errors='replace')}"
    if status == 401:
        raise EngineError(message, hint="Put the server's key into TUNESMITH_API_KEY.")
    raise NotFound(message) if status == 404 else EngineError(message)
