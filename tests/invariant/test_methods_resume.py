"""Every method, found by listing the folder: stopped in the middle and resumed, a run ends with the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.invariant.runs import run
from tunesmith import plugins
from tunesmith.train import checkpoint as checkpoints
from tunesmith.types.run import RunRecord

OPTIONS: dict[str, dict[str, Any]] = {"lora": {"rank": 4, "dropout": 0.1}}
RATES: dict[str, float] = {}
METHODS = plugins.names("tunesmith.models.methods")


def trained(home: Path, base: Path, name: str) -> RunRecord:
    method = {"name": name, **OPTIONS.get(name, {})}
    rate = RATES.get(name, 0.01)
    return run(home, base, method=method, epochs=2, checkpoint_every=1, keep_checkpoints=99, learning_rate=rate)


@pytest.mark.parametrize("name", METHODS)
def test_stopped_and_resumed_it_ends_with_the_same_bytes(name: str, tmp_path: Path, tiny: Path) -> None:
    """Stopped after step 4 of 12: everything later is deleted, as if the process had died there."""
    whole = trained(tmp_path / "run", tiny, name)
    folder = Path(whole.path)
    expected = (folder / "adapter/adapter_model.safetensors").read_bytes()
    assert all(check.passed for check in whole.checks)
    assert 0 < whole.trainable_parameters <= whole.total_parameters
    kept = [checkpoints.read(folder / "checkpoints", step).state.step for step in (3, 4, whole.steps)]
    assert kept == [3, 4, whole.steps]
    for step in range(5, whole.steps + 1):
        shutil.rmtree(folder / "checkpoints" / f"step-{step:06d}")
    shutil.rmtree(folder / "adapter")
    (folder / "run.json").unlink()
    resumed = trained(tmp_path / "run", tiny, name)
    assert (folder / "adapter/adapter_model.safetensors").read_bytes() == expected
    assert (resumed.adapter_digest, resumed.steps) == (whole.adapter_digest, whole.steps)
