"""tunesmith convert as a process of its own: standard input, exit codes, nothing written on a failure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROWS = "".join(json.dumps({"instruction": f"say {n}", "input": "", "output": str(n)}) + "\n" for n in range(3))


def convert(folder: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tunesmith.cli.main import main; main()", "convert", *arguments]
    return subprocess.run(command, input=text, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_rows_from_standard_input(tmp_path: Path) -> None:
    done = convert(tmp_path, "-", "--to", "chat", "--out", "chat.jsonl", text=ROWS)
    assert done.returncode == 0, done.stderr
    assert "read -: instruction (jsonl)" in done.stdout
    assert "wrote 3 chat rows to chat.jsonl" in done.stdout
    written = [json.loads(line)["messages"] for line in (tmp_path / "chat.jsonl").read_text().splitlines()]
    assert [[turn["content"] for turn in turns] for turns in written] == [[f"say {n}", str(n)] for n in range(3)]


def test_bad_rows_end_with_2_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(ROWS + '{"instruction": "x", "output": NaN}\n{"instruction": "x"}\n')
    failed = convert(tmp_path, "rows.jsonl", "--to", "chat", "--out", "chat.jsonl")
    assert failed.returncode == 2
    assert "rows.jsonl:4: NaN is not JSON" in failed.stderr
    assert "rows.jsonl:5: output: is missing" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "chat.jsonl").exists()
