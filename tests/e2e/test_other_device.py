"""Whole runs and answers on a device that refuses to be mixed with the processor.

There is no GPU where this is tested, so `tests.other_device` stands in: it fails where a GPU would, when a computation
is given tensors of two devices, and computes with the processor's kernels, so what comes out can be compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.e2e.on_two_devices import CASES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> dict[str, Any]:
    """All cases from one process, since the device cannot be taken back."""
    home = tmp_path_factory.mktemp("devices")
    command = [sys.executable, "-m", "tests.e2e.on_two_devices", str(home), str(tiny), *CASES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("case", CASES)
def test_a_run_elsewhere_gives_what_it_gives_on_the_processor(found: dict[str, Any], case: str) -> None:
    """The forward pass is the very same. Steps differ in their last bits: where it is not the processor, torch takes
    the norm of all gradients in another order.
    """
    there, here = found[case]["elsewhere"], found[case]["cpu"]
    assert (there["device"], here["device"]) == ("elsewhere:0", "cpu")
    assert there["resumed to the same bytes"]
    assert all(there["checks"].values())
    assert there["checks"] == here["checks"]
    assert there["start"] == pytest.approx(here["start"], rel=1e-6)
    assert there["end"] == pytest.approx(here["end"], rel=1e-4)
    assert there["answer"] == pytest.approx(here["answer"], rel=1e-3, abs=1e-4)
    trained = [load_file(Path(run["adapter"]) / "adapter_model.safetensors") for run in (there, here)]
    assert all(tensor.isfinite().all() for tensor in trained[0].values())
