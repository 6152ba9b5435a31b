"""The commands and the recipe of docs/scale-out.md, run as a reader would type them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.invariant.runs import write_recipe
from tunesmith.types.recipe import TrainSpec

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "scale-out.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)\n```", GUIDE, flags=re.S)
PROGRAMS = {"tunesmith": ["-m", "tunesmith.cli.main"], "torchrun": ["-m", "torch.distributed.run"]}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_trains_on_two_processes(command: str, tmp_path: Path, tiny: Path) -> None:
    write_recipe(tmp_path, tiny, epochs=1).rename(tmp_path / "support.yaml")
    program, *words = shlex.split(command)
    if "--ray" in words:
        pytest.importorskip("ray", reason="pip install 'tunesmith[ray]'")
    paths = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {**os.environ, "PYTHONPATH": paths, "TUNESMITH_HOME": str(tmp_path / "home")}
    process = subprocess.run(
        [sys.executable, *PROGRAMS[program], *words],
        cwd=tmp_path,
        env=environment | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("next: tunesmith evaluate support.yaml") == 1
    (record,) = (tmp_path / "home").glob("runs/*/run.json")
    assert json.loads(record.read_text())["steps"] == 5  # 18 rows, 4 a step
    (plan,) = (tmp_path / "home").glob("runs/*/plan.json")
    assert json.loads(plan.read_text())["accumulate"] == 2


def test_the_recipe_is_accepted() -> None:
    (recipe,) = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.S)
    spec = TrainSpec.model_validate(YAML(typ="safe").load(recipe)["train"])
    assert spec.parallel.strategy == "fsdp"
    assert (spec.parallel.silence_seconds, spec.parallel.wait_seconds) == (60.0, 1800.0)
