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

# Every method with its default options, and those of its options that keep more state or another start.
CASES: list[dict[str, Any]] = [
    *({"name": name} for name in plugins.names("tunesmith.models.methods")),
    {"name": "lora", "rank": 4, "dropout": 0.1, "plus_ratio": 4.0, "rslora": True},
    {"name": "lora", "rank": 4, "init": "pissa", "rank_pattern": {"down_proj": 6}},
    {"name": "lora", "rank": 4, "init": "olora", "rslora": True},
    {"name": "lora", "rank": 4, "init": "eva"},
    {"name": "adalora", "rank": 6, "target_rank": 2, "dropout": 0.1},
]


def trained(home: Path, base: Path, method: dict[str, Any]) -> RunRecord:
    return run(home, base, method=method, epochs=2, checkpoint_every=2, keep_checkpoints=99)


@pytest.mark.parametrize("method", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_stopped_and_resumed_it_ends_with_the_same_bytes(method: dict[str, Any], tmp_path: Path, tiny: Path) -> None:
    """Stopped after step 4 of 10: everything later is deleted, as if the process had died there."""
    whole = trained(tmp_path / "run", tiny, method)
    folder = Path(whole.path)
    expected = (folder / "adapter/adapter_model.safetensors").read_bytes()
    assert all(check.passed for check in whole.checks)
    assert 0 < whole.trainable_parameters <= whole.total_parameters
    kept = [checkpoints.read(folder / "checkpoints", step).state.step for step in (2, 4, whole.steps)]
    assert kept == [2, 4, whole.steps]
    for later in sorted((folder / "checkpoints").glob("step-*"))[2:]:
        shutil.rmtree(later)
    shutil.rmtree(folder / "adapter")
    (folder / "run.json").unlink()
    resumed = trained(tmp_path / "run", tiny, method)
    assert (folder / "adapter/adapter_model.safetensors").read_bytes() == expected
    assert (resumed.adapter_digest, resumed.steps) == (whole.adapter_digest, whole.steps)
