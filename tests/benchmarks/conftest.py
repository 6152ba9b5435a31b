"""One server for the benchmarks' clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.openai.conftest import Running, start_server


@pytest.fixture(scope="session")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The tiny model in float32, as a user serves it."""
    with start_server(tmp_path_factory.mktemp("home"), tiny, "--backend-option", "precision=float32") as running:
        yield running
