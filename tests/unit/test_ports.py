"""A port for later is not one that the system may give to somebody else until then."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from tunesmith import ports


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the system says what it hands out."""
    monkeypatch.setattr(ports, "_GIVEN", tmp_path / "range")
    return tmp_path / "range"


def test_a_port_below_those_that_are_handed_out(given: Path) -> None:
    given.write_text("20000\t60999\n")
    assert all(10_000 <= ports.free_port() < 20_000 for _ in range(50))


def test_one_that_is_listened_on_is_not_taken(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        port = ports.free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        other = ports.free_port()
        monkeypatch.setattr(random.SystemRandom, "sample", lambda *_: [port, other])
        assert ports.free_port() == other


@pytest.mark.parametrize("said", ["1024 65535", "", "nonsense"])
def test_where_all_are_handed_out_or_nothing_is_said_there_is_one_too(given: Path, said: str) -> None:
    given.write_text(said)
    with socket.socket() as server:
        server.bind(("", ports.free_port("")))
