"""The server on PostgreSQL: the same platform by one setting, and connections that the database drops."""

from __future__ import annotations

import json
from pathlib import Path

import openai
import psycopg
import pytest

from tests.e2e.openai.conftest import start_server

ROW = b'{"prompt": "a", "completion": "b"}\n'


def test_everything_is_kept_in_postgresql_by_one_setting(
    tiny_base: Path, tmp_path: Path, postgres_database_url: str
) -> None:
    chosen = {"TUNESMITH_DATABASE_URL": postgres_database_url}
    with (
        start_server(tmp_path, tiny_base, "--backend", "echo", environment=chosen) as running,
        running.client() as client,
    ):
        file = client.files.create(file=("a.jsonl", ROW), purpose="fine-tune")
        assert client.files.content(file.id).read() == ROW
        upload = client.uploads.create(bytes=len(ROW), filename="b", mime_type="text/plain", purpose="fine-tune")
        part = client.uploads.parts.create(upload.id, data=ROW)
        assert client.uploads.complete(upload.id, part_ids=[part.id]).status == "completed"
        ask = {"model": "base", "messages": [{"role": "user", "content": "Hi"}]}
        request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": ask}
        asks = client.files.create(file=("c.jsonl", json.dumps(request).encode()), purpose="batch")
        batch = client.batches.create(input_file_id=asks.id, endpoint="/v1/chat/completions", completion_window="24h")
        with psycopg.connect(postgres_database_url, autocommit=True) as database:
            assert database.execute("SELECT count(*) FROM files").fetchone() == (3,)
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            assert database.execute(f"{ended} AND pid <> pg_backend_pid()").fetchall()
        assert client.files.retrieve(file.id) == file
        while batch.status not in ("completed", "failed", "cancelled", "expired"):
            batch = client.batches.retrieve(batch.id)
        assert (batch.status, batch.request_counts and batch.request_counts.completed) == ("completed", 1)
        for action in (client.files.retrieve, client.batches.retrieve, client.uploads.cancel):
            with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
                action("x\0")
        _no_name_has_a_zero_byte(client)
    assert not (tmp_path / "registry.db").exists()


def _no_name_has_a_zero_byte(client: openai.OpenAI) -> None:
    """PostgreSQL refuses to look for one, so nobody may ask it to."""
    said = [{"role": "user", "content": "Hi"}]
    jobs, evals = client.fine_tuning.jobs, client.evals
    for unknown in ("ft:tiny:default::a\0b", "a\0b", "a\0b@v1"):
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.chat.completions.create(model=unknown, messages=said)
    asked = [
        lambda: client.responses.create(model="base", input="Hi", previous_response_id="resp_\0"),
        lambda: client.batches.create(
            input_file_id="file-\0", endpoint="/v1/chat/completions", completion_window="24h"
        ),
        lambda: jobs.create(model="base", training_file="file-\0"),
        lambda: jobs.create(model="ft:\0", training_file="file-\0"),
        lambda: client.post("/tunesmith/keys", body={"name": "a\0b"}, cast_to=object),
        lambda: client.post("/tunesmith/keys", body={"project": "a\0b"}, cast_to=object),
    ]
    config = {"type": "custom", "item_schema": {"type": "object", "properties": {}}}
    check = {"type": "string_check", "name": "c", "input": "a", "reference": "a", "operation": "eq"}
    made = evals.create(data_source_config=config, testing_criteria=[check])
    source = {"type": "jsonl", "source": {"type": "file_id", "id": "file-\0"}}
    asked.append(lambda: evals.runs.create(made.id, data_source=source))
    for call in asked:
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)) as caught:
            call()
        assert caught.value.body["message"]
