"""The benchmark's own side runs: it is not part of the suite's measurements and would otherwise rot unseen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import ours


def test_our_side_of_the_benchmark_trains(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"say {i}"}, {"role": "assistant", "content": "yes " * (i + 1)}]}
        for i in range(6)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--model", str(tiny), "--data", str(data), "--batch", "2", "--steps", "3", "--learning-rate", "0.01"]
    monkeypatch.setattr(sys, "argv", ["ours.py", *options])
    ours.main()
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert len(result["losses"]) == 3
    assert all(0 < loss < 20 for loss in result["losses"])
    assert result["tokens_per_second"] > 0
