"""Who gets in: the official client with right, wrong, ended, limited and other people's keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.openai.conftest import Running, start_server

KEYS = "/tunesmith/keys"
HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def server(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with start_server(tmp_path_factory.mktemp("keys-home"), tiny_base, "--backend", "echo") as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as found:
        yield found


@pytest.fixture
def make(client: openai.OpenAI) -> Callable[..., dict[str, Any]]:
    """make(role=..., scopes=...) -> the new key as the server shows it this once."""
    return lambda **grant: client.post(KEYS, body=grant, cast_to=dict[str, Any])


def say(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(model="base", messages=HELLO, max_tokens=4, **options)


def wait_until(moment: int) -> None:
    time.sleep(max(0.0, moment + 0.1 - time.time()))


def command(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith.cli.main", "keys", *arguments, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "TUNESMITH_HOME": str(home)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_key_of_the_first_start_is_an_administrators(client: openai.OpenAI) -> None:
    assert say(client).choices[0].finish_reason == "length"
    listed = client.get(KEYS, cast_to=dict[str, Any])
    first = listed["data"][-1]
    assert (first["role"], first["project"], first["name"]) == ("admin", "default", "first")
    assert client.api_key.endswith(first["hint"])
    assert client.api_key not in json.dumps(listed)


@pytest.mark.parametrize("wrong", ["sk-tunesmith-wrong", "ключ", "x" * 5000, "sk tunesmith", "\U0001f511"])
def test_a_wrong_key_is_refused_and_not_shown_back(server: Running, wrong: str) -> None:
    headers = {"Authorization": f"Bearer {wrong}".encode()}
    answer = httpx.get(f"{server.url}/models", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert wrong not in answer.text
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"]


def test_the_official_client_raises_its_own_error(server: Running) -> None:
    for stream in (False, True):
        with server.client(api_key="sk-tunesmith-guess") as client, pytest.raises(openai.AuthenticationError) as caught:
            say(client, stream=stream)
        assert caught.value.code == "invalid_api_key"
        assert set(caught.value.body) == {"message", "type", "param", "code"}  # type: ignore[arg-type]


def test_no_key_another_scheme_and_unknown_addresses_are_refused_alike(server: Running) -> None:
    for headers in ({}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer"}, {"Authorization": server.key}):
        for path in ("/models", "/nothing/here", "/tunesmith/keys"):
            assert httpx.get(server.url + path, headers=headers).status_code == 401
    assert httpx.get(server.url.removesuffix("/v1") + "/health").status_code == 200


def test_no_page_of_another_site_is_let_in(server: Running) -> None:
    preflight = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    asked = httpx.options(f"{server.url}/chat/completions", headers=preflight)
    told = httpx.get(f"{server.url}/models", headers={"Authorization": f"Bearer {server.key}", **preflight})
    assert asked.status_code == 401
    assert not [name for answer in (asked, told) for name in answer.headers if name.startswith("access-control")]


def test_readers_read_and_members_do_not_manage(server: Running, make: Callable[..., dict[str, Any]]) -> None:
    with server.client(api_key=make(role="read")["key"]) as reader:
        assert reader.models.list().data
        for refused in (lambda: say(reader), lambda: reader.models.delete("base"), lambda: reader.files.delete("f")):
            with pytest.raises(openai.PermissionDeniedError) as caught:
                refused()
            assert caught.value.code == "insufficient_permissions"
    with server.client(api_key=make(role="member")["key"]) as member:
        assert say(member).choices
        for refused in (
            lambda: member.get(KEYS, cast_to=object),
            lambda: member.post(KEYS, body={"role": "admin"}, cast_to=object),
        ):
            with pytest.raises(openai.PermissionDeniedError):
                refused()


def test_scopes_open_only_their_part(server: Running, make: Callable[..., dict[str, Any]]) -> None:
    with server.client(api_key=make(scopes=["inference"])["key"]) as client:
        assert say(client).choices
        for refused in (client.models.list, client.files.list, lambda: client.get("/other", cast_to=object)):
            with pytest.raises(openai.PermissionDeniedError, match="limited to: inference"):
                refused()


def test_a_revoked_key_opens_nothing_from_the_next_call_on(
    server: Running, client: openai.OpenAI, make: Callable[..., dict[str, Any]]
) -> None:
    made = make()
    with server.client(api_key=made["key"]) as other:
        assert say(other).choices
        ended = client.delete(f"{KEYS}/{made['id']}", cast_to=dict[str, Any])
        assert ended["revoked_at"] >= made["created_at"]
        with pytest.raises(openai.AuthenticationError):
            say(other)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"expires_at": 2**63}, "expires_at"),
        ({"expires_at": 253_402_300_800}, "expires_at"),
        ({"limits": {"tokens_per_minute": 2**64}}, "limits.tokens_per_minute"),
        ({"limits": {"token_budget": 2**64}}, "limits.token_budget"),
    ],
)
def test_a_number_that_nothing_could_keep_is_refused(client: openai.OpenAI, given: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.post(KEYS, body={"name": "x", **given}, cast_to=object)
    assert refused.value.param == param


def test_an_expired_key_opens_nothing(server: Running, make: Callable[..., dict[str, Any]]) -> None:
    made = make(expires_at=int(time.time()) + 6)
    with server.client(api_key=made["key"]) as other:
        assert other.models.list().data
        wait_until(made["expires_at"])
        with pytest.raises(openai.AuthenticationError):
            other.models.list()


def test_rotation_gives_a_new_key_while_the_old_one_goes_on_for_a_while(
    server: Running, client: openai.OpenAI, make: Callable[..., dict[str, Any]]
) -> None:
    old = make(name="robot", role="read", scopes=["models"])
    body = {"overlap_seconds": 6}
    new = client.post(f"{KEYS}/{old['id']}/rotate", body=body, cast_to=dict[str, Any])
    assert {name: new[name] for name in ("name", "role", "scopes")} == {
        "name": "robot",
        "role": "read",
        "scopes": ["models"],
    }
    changed = client.get(f"{KEYS}/{old['id']}", cast_to=dict[str, Any])
    assert changed["replaced_by"] == new["id"]
    with server.client(api_key=old["key"]) as before, server.client(api_key=new["key"]) as after:
        assert before.models.list().data
        assert after.models.list().data
        wait_until(changed["expires_at"])
        assert after.models.list().data
        with pytest.raises(openai.AuthenticationError):
            before.models.list()
    with pytest.raises(openai.NotFoundError):
        client.post(f"{KEYS}/{old['id']}/rotate", cast_to=object)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"role": "owner"}, "role"),
        ({"scopes": ["everything"]}, "scopes[0]"),
        ({"project": "../other"}, "project"),
        ({"limits": {"token_budget": 0}}, "limits.token_budget"),
        ({"name": "a\0b"}, "name"),
        ({"rate": 3}, "rate"),
    ],
)
def test_what_a_key_cannot_be_is_named(client: openai.OpenAI, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(KEYS, body=body, cast_to=object)
    assert caught.value.param == param


def test_keys_are_listed_page_by_page(client: openai.OpenAI, make: Callable[..., dict[str, Any]]) -> None:
    made = [make(name=f"page {index}")["id"] for index in range(3)]
    first = client.get(KEYS, cast_to=dict[str, Any], options={"params": {"limit": 2}})
    assert [key["id"] for key in first["data"]] == made[:0:-1]
    assert first["has_more"]
    then = client.get(KEYS, cast_to=dict[str, Any], options={"params": {"limit": 2, "after": first["last_id"]}})
    assert then["data"][0]["id"] == made[0]
    with pytest.raises(openai.NotFoundError):
        client.delete(f"{KEYS}/key_none", cast_to=object)


def test_the_command_line_makes_lists_rotates_and_revokes(server: Running) -> None:
    made = command(server.home, "create", "--name", "cli", "--role", "read", "--scope", "models", "--days", "2")
    assert made["expires_at"] - made["created_at"] == pytest.approx(2 * 86_400, abs=5)
    with server.client(api_key=made["key"]) as client:
        assert client.models.list().data
        new = command(server.home, "rotate", made["id"])
        with server.client(api_key=new["key"]) as other:
            assert other.models.list().data
        command(server.home, "revoke", made["id"])
        time.sleep(1.1)
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    listed = {key["id"]: key for key in command(server.home, "ls")}
    assert listed[made["id"]]["revoked_at"]
    assert made["key"] not in json.dumps(listed)


def test_keys_are_nowhere_in_the_home(server: Running, make: Callable[..., dict[str, Any]]) -> None:
    secret = make()["key"].encode()
    found = [path for path in server.home.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert not found


def test_a_second_start_makes_no_key_and_the_environment_may_give_one(tiny_base: Path, tmp_path: Path) -> None:
    home, own = tmp_path / "home", {"TUNESMITH_ADMIN_KEY": "a key of the environment"}
    with start_server(home, tiny_base, "--backend", "echo", environment=own) as running:
        assert command(home, "ls") == []
        with running.client(api_key=own["TUNESMITH_ADMIN_KEY"]) as client:
            assert client.get(KEYS, cast_to=dict[str, Any])["data"] == []
    with start_server(home, tiny_base, "--backend", "echo") as running, running.client() as client:
        assert client.models.list().data
        with running.client(api_key=own["TUNESMITH_ADMIN_KEY"]) as other, pytest.raises(openai.AuthenticationError):
            other.models.list()
    with start_server(home, tiny_base, "--backend", "echo") as running:
        assert len(command(home, "ls")) == 1


def test_without_keys_only_programs_of_this_machine_are_served(tiny_base: Path, tmp_path: Path) -> None:
    with start_server(tmp_path / "home", tiny_base, "--backend", "echo", "--no-keys") as running:
        with running.client(api_key="anything") as client:
            assert say(client).choices
        foreign = ({"Host": "rebound.example"}, {"Origin": "https://elsewhere.example"}, {"Origin": "null"})
        for headers in foreign:
            assert httpx.get(f"{running.url}/models", headers=headers).status_code == 403
    for host in ("0.0.0.0", "::"):
        done = subprocess.run(
            [sys.executable, "-m", "tunesmith.cli.main", "serve", "--no-keys", "--host", host, "--base", "none"],
            capture_output=True,
            text=True,
            env={**os.environ, "TUNESMITH_HOME": str(tmp_path)},
            check=False,
        )
        assert done.returncode == 1
        assert "Without keys anybody who reaches" in done.stderr
