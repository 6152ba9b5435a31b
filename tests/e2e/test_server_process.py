"""The server that a command starts for itself ends with the command, however that ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import sys, time
from pathlib import Path
from tunesmith.cli.server_process import running_server
with running_server(Path(sys.argv[1]), sys.argv[2]) as server:
    print(server.address, flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_killed_command_leaves_no_server_behind(tiny: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / "home"), str(tiny)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as command:
        try:
            assert command.stdout is not None
            assert command.stdout.readline().startswith("http://127.0.0.1:")
            started = psutil.Process(command.pid).children(recursive=True)
            assert any("serve" in process.cmdline() for process in started)
        finally:
            command.kill()
    _, left = psutil.wait_procs(started, timeout=60)
    assert left == []
