"""The clients of known benchmarks, run as their users run them: by command, in an environment of their own.

`make test-benchmarks` makes the environment and names its interpreter in TUNESMITH_BENCHMARKS_PYTHON.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["PYTHON", "QUESTIONS", "REASON", "run", "write_lines"]

PYTHON = os.environ.get("TUNESMITH_BENCHMARKS_PYTHON", "")
REASON = "needs an environment with lm-eval and inspect-ai: make test-benchmarks"
QUESTIONS = (
    ("What melts in the sun?", ("Butter", "Granite", "Sand")),
    ("Which of these can fly?", ("A spoon", "A sparrow", "A carpet of moss")),
    ("What is kept in a wallet?", ("Money", "Rain", "An oven")),
    ("What is two and two?", ("Three", "Four", "Nine")),
    ("Where do fish live?", ("In water", "In drawers", "In the attic")),
    ("What is read at breakfast?", ("A hammer", "A newspaper", "A bucket")),
)
"""Questions, each with options of different lengths."""


def run(tool: str, *arguments: str, folder: Path, environment: dict[str, str], python: str = PYTHON) -> None:
    """The command `tool` beside the interpreter `python`, in `folder`; what it says is shown when it fails."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "NO_COLOR": "1"}
    done = subprocess.run(
        [str(Path(python).with_name(tool)), *arguments],
        cwd=folder,
        env={**os.environ, **offline, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{tool} {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
