"""/v1/uploads with the official client, against a server started as a user starts it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.openai.conftest import start_server

CONTENT = "".join(json.dumps({"prompt": f"Question {n}", "completion": "Answer"}) + "\n" for n in range(1000)).encode()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def begin(client: openai.OpenAI, **options: Any) -> Any:
    given = {"bytes": len(CONTENT), "filename": "rows.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    return client.uploads.create(**{**given, **options})


def send_parts(client: openai.OpenAI, upload: Any, size: int = 9_999) -> list[str]:
    pieces = [CONTENT[at : at + size] for at in range(0, len(CONTENT), size)]
    return [client.uploads.parts.create(upload.id, data=piece).id for piece in pieces]


def left(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "uploads").glob("*") if path.name != ".lock")


def test_parts_become_the_file_in_the_order_of_completion(client: openai.OpenAI, server: Any) -> None:
    before = left(server.home)
    upload = begin(client, expires_after={"anchor": "created_at", "seconds": 7200})
    assert upload.id.startswith("upload_")
    assert (upload.object, upload.status, upload.bytes, upload.filename) == (
        "upload",
        "pending",
        len(CONTENT),
        "rows.jsonl",
    )
    assert (upload.purpose, upload.expires_at - upload.created_at, upload.file) == ("fine-tune", 3600, None)
    half = len(CONTENT) // 2
    second = client.uploads.parts.create(upload.id, data=CONTENT[half:])
    first = client.uploads.parts.create(upload.id, data=CONTENT[:half])
    unused = client.uploads.parts.create(upload.id, data=CONTENT[:half])  # as if the answer had been lost
    assert first.id.startswith("part_")
    assert (first.object, first.upload_id) == ("upload.part", upload.id)
    done = client.uploads.complete(upload.id, part_ids=[first.id, second.id], md5=MD5.upper())
    assert (done.id, done.status, unused.upload_id) == (upload.id, "completed", upload.id)
    assert done.file is not None
    assert (done.file.filename, done.file.bytes, done.file.purpose) == ("rows.jsonl", len(CONTENT), "fine-tune")
    assert done.file.expires_at is not None
    assert client.files.content(done.file.id).read() == CONTENT
    assert left(server.home) == before
    for action in (
        lambda: client.uploads.complete(upload.id, part_ids=[first.id]),
        lambda: client.uploads.cancel(upload.id),
    ):
        with pytest.raises(openai.BadRequestError, match="it is completed"):
            action()


def test_parts_have_at_most_the_bytes_that_were_announced(client: openai.OpenAI, server: Any) -> None:
    before = left(server.home)
    upload = begin(client)
    first = client.uploads.parts.create(upload.id, data=CONTENT[:-1])
    for rest in (b"\n\n", CONTENT + b"\n"):
        with pytest.raises(openai.BadRequestError) as caught:
            client.uploads.parts.create(upload.id, data=rest)
        assert caught.value.param == "data"
        assert f"the upload was announced with {len(CONTENT)}" in caught.value.message
    assert len(left(server.home)) == len(before) + 1
    last = client.uploads.parts.create(upload.id, data=CONTENT[-1:])
    assert client.uploads.complete(upload.id, part_ids=[first.id, last.id], md5=MD5).status == "completed"


def test_the_clients_own_helper(client: openai.OpenAI, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(CONTENT)
    done = client.uploads.upload_file_chunked(
        file=tmp_path / "rows.jsonl", mime_type="text/jsonl", purpose="fine-tune", part_size=20_000, md5=MD5
    )
    assert done.file is not None
    assert client.files.content(done.file.id).read() == CONTENT


def test_what_does_not_fit_is_refused_and_can_be_repaired(client: openai.OpenAI) -> None:
    upload = begin(client)
    parts = send_parts(client, upload)
    foreign = send_parts(client, begin(client))
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"part_ids": parts[:-1]}, "part_ids", f"announced with {len(CONTENT)}"),
        ({"part_ids": [*parts, parts[0]]}, "part_ids", "more than once"),
        ({"part_ids": [*parts[:-1], foreign[-1]]}, "part_ids", "has no part"),
        ({"part_ids": parts, "md5": "0" * 32}, "md5", MD5),
        ({"part_ids": parts, "md5": "x"}, "md5", "md5"),
        ({"part_ids": []}, "part_ids", "part_ids"),
    ]
    before = len(client.files.list().data)
    for options, param, what in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            client.uploads.complete(upload.id, **options)
        assert caught.value.param == param
        assert what in caught.value.message
    assert len(client.files.list().data) == before
    assert client.uploads.complete(upload.id, part_ids=parts).status == "completed"


def test_the_file_is_checked_when_it_is_whole(client: openai.OpenAI) -> None:
    rows = b'{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n'
    upload = begin(client, bytes=len(rows))
    part = client.uploads.parts.create(upload.id, data=rows)
    with pytest.raises(openai.BadRequestError, match="Line 2: completion: is missing"):
        client.uploads.complete(upload.id, part_ids=[part.id])


def test_a_cancelled_upload_takes_nothing_more(client: openai.OpenAI, server: Any) -> None:
    upload = begin(client)
    parts = send_parts(client, upload)
    assert left(server.home)
    assert client.uploads.cancel(upload.id).status == "cancelled"
    actions: list[Any] = [
        lambda: client.uploads.cancel(upload.id),
        lambda: client.uploads.parts.create(upload.id, data=b"x"),
        lambda: client.uploads.complete(upload.id, part_ids=parts),
    ]
    for action in actions:
        with pytest.raises(openai.BadRequestError, match="it is cancelled"):
            action()


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": (8 << 30) + 1}, "bytes"),
        ({"purpose": "fine-tune-results"}, "purpose"),
        ({"filename": ""}, "filename"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
        ({"extra_body": {"parts": 3}}, "parts"),
    ],
)
def test_a_wrong_field_is_named(client: openai.OpenAI, options: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        begin(client, **options)
    assert caught.value.param == param


@pytest.mark.parametrize(("purpose", "size"), [("batch", (200 << 20) + 1), ("fine-tune", (512 << 20) + 1)])
def test_a_file_that_would_be_too_large_is_refused_at_the_start(client: openai.OpenAI, purpose: str, size: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        begin(client, purpose=purpose, bytes=size)
    assert (caught.value.status_code, caught.value.code) == (413, "file_too_large")


def test_a_part_has_at_most_64_mb(client: openai.OpenAI, server: Any) -> None:
    before = left(server.home)
    upload = begin(client, bytes=65 << 20, purpose="user_data")
    with pytest.raises(openai.APIStatusError) as caught:
        client.uploads.parts.create(upload.id, data=bytes((64 << 20) + 1))
    assert caught.value.status_code == 413
    client.uploads.cancel(upload.id)
    assert left(server.home) == before


def test_unknown_uploads_are_not_found(client: openai.OpenAI) -> None:
    for identity in ("upload_none", "x\0", "x" * 2000):
        for action in (
            lambda name: client.uploads.cancel(name),
            lambda name: client.uploads.parts.create(name, data=b"x"),
            lambda name: client.uploads.complete(name, part_ids=["part_x"]),
        ):
            with pytest.raises((openai.NotFoundError, ValueError)):
                action(identity)


def test_an_upload_survives_a_kill_and_expires(tiny_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with start_server(home, tiny_base, "--backend", "echo") as running, running.client() as client:
        upload, late = begin(client), begin(client)
        parts = send_parts(client, upload)
        send_parts(client, late)
        running.process.kill()
        running.process.wait()
    with sqlite3.connect(home / "registry.db") as connection:
        connection.execute("UPDATE uploads SET expires_at = ? WHERE id = ?", (int(time.time()) - 1, late.id))
    connection.close()
    with start_server(home, tiny_base, "--backend", "echo") as running, running.client() as client:
        with pytest.raises(openai.BadRequestError, match="it is expired"):
            client.uploads.parts.create(late.id, data=b"x")
        done = client.uploads.complete(upload.id, part_ids=parts, md5=MD5)
        assert done.file is not None
        assert client.files.content(done.file.id).read() == CONTENT
        assert left(home) == []
