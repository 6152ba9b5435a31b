"""Garbage is searched for rarely by the program, and not at all while it ends."""

from __future__ import annotations

import subprocess
import sys

ENDING = """
import atexit, gc, sys
atexit.register(lambda: print(gc.get_freeze_count() > 1000, gc.get_threshold()[0]))
from tunesmith.cli.main import main
sys.argv = ["tunesmith", "--version"]
main()
"""


def test_a_command_leaves_what_it_imported_alone() -> None:
    shown = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "True 50000"
