"""Threads and kernels are limited before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "kept"), [({}, "128"), ({"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}, "7")])
def test_kernels_that_are_kept_are_limited_unless_the_environment_says_otherwise(
    given: dict[str, str], kept: str
) -> None:
    program = (
        "import os; from tunesmith.threads import limit_threads; limit_threads(3); "
        "print(os.environ['OMP_NUM_THREADS'], os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "ONEDNN_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment | given, check=True
    )
    assert done.stdout.split() == ["3", kept]
