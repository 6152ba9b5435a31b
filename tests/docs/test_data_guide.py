"""The recipe and the commands of docs/data.md, run in its order as a reader would type them."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from tunesmith.cli.main import app

GUIDE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", GUIDE, flags=re.S) for line in block.splitlines()]
SAYING = (
    "account balance branch bridge candle copper driver engine forest garden hammer island jacket kitten ladder market "
    "needle orange pencil quartz rabbit saddle tunnel umbrella velvet window yellow zipper"
)
TOPICS = ("card", "refund", "login", "invoice")


def call(command: str, **names: str) -> str:
    program, *words = (names.get(word, word) for word in shlex.split(command))
    assert program == "tunesmith"
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"{command}\n{result.output}"
    return result.stdout


def test_the_guide_works_from_top_to_bottom(tmp_path, monkeypatch, tiny):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0)
    rows = [f"{topic} {' '.join(draw.sample(SAYING.split(), 8))},{topic}" for topic in TOPICS for _ in range(10)]
    error = "the app shows an error page whenever I open the statement of last month"
    rows += [f"{error},login", f"{error} again,login", "write to ann.lee@example.org about my invoice,invoice"]
    Path("tickets.csv").write_text("\n".join(["text,team", *rows]) + "\n")
    (recipe,) = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.S)
    base = f"\nmodel: {{base: {json.dumps(str(tiny))}}}\n"
    Path("other.yaml").write_text(recipe.replace("  split:", "  system: Name the team.\n  split:") + base)
    call("tunesmith prepare other.yaml")
    Path("support.yaml").write_text(recipe + base)
    first, *later = COMMANDS
    assert "next: tunesmith train support.yaml" in call(first)
    other, dataset = (each["digest"][:12] for each in json.loads(call("tunesmith data ls --json")))
    shown = {command: call(command, DATASET=dataset, OTHER=other) for command in later}
    assert dataset in shown["tunesmith data ls"]
    assert "near_duplicate" in shown["tunesmith data show DATASET"]
    assert all(json.loads(line)["reason"] for line in shown["tunesmith data show DATASET --dropped all"].splitlines())
    assert "Name the team." in shown["tunesmith data diff DATASET OTHER"]
    assert "checks hold" in shown["tunesmith data verify exported"]
    for name in ("README.md", "SHA256SUMS", "report.html", "dropped.jsonl", "findings.jsonl"):
        assert (tmp_path / "exported" / name).is_file()
    assert "ann.lee@example.org" not in (tmp_path / "exported" / "report.html").read_text(encoding="utf-8")
