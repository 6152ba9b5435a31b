"""A few kills of server, worker and trainer, on SQLite and on PostgreSQL; `python -m bench.job_drill` does fifty."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.job_drill import Drill, drill


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_lose_nothing(tiny_base: Path, tmp_path: Path, database_url: str) -> None:
    database = None if database_url.startswith("sqlite") else database_url
    scene = Drill(tmp_path / "home", tiny_base, database)
    with scene.serving():
        report = drill(scene, kills=5, seed=32, say=print)
    assert sum(report.kills.values()) == 5
    assert report.different == []
