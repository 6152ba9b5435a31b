"""A local Ray cluster of two workers prepares the bytes that one process prepares."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.testing.tiny import make_tiny_model

pytest.importorskip("ray.data", reason="pip install 'tunesmith[ray]'")
pytest.importorskip("pandas", reason="pip install 'tunesmith[ray]'")

SCRIPT = """
import sys
from pathlib import Path
from tunesmith.models.template import Renderer
from tunesmith.prepare.on_ray import RayWorkers
from tunesmith.prepare.stage import prepare
from tunesmith.prepare.workers import Workers
from tunesmith.types.recipe import PrepareSpec

steps = [{"name": "clean"}, {"name": "near_duplicates"}]
spec = PrepareSpec.model_validate({"sources": [{"path": "rows.csv"}], "steps": steps, "max_drop_rate": 1.0})
folder = Path(sys.argv[1])
for name, workers in (("ray", RayWorkers(2)), ("one", Workers(1))):
    prepare(spec, renderer=Renderer(folder / "tiny"), base_dir=folder, home=folder / name, workers=workers)
"""


@pytest.mark.slow
def test_two_workers_prepare_the_bytes_of_one_process(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "tiny")
    rows = [f"how do I {number} the {number * 7 % 13},answer {number % 4}" for number in range(600)]
    (tmp_path / "rows.csv").write_text("\n".join(["prompt,completion", *rows, rows[3].upper()]))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, check=True, timeout=250)
    ray, one = (
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("datasets/*/*")} for name in ("ray", "one")
    )
    assert ray == one
    assert {"train.jsonl", "dropped.jsonl", "manifest.json"} <= set(ray)
