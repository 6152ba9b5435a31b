"""garak's report read as an evaluation: entries in the form of garak 0.13 to 0.17, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.errors import DataError
from tunesmith.evaluate.garak_report import read_garak


def attempt(uuid: str, outputs: list[Any], results: dict[str, list[float | None]], **others: Any) -> dict[str, Any]:
    prompt = {"turns": [{"role": "user", "content": {"text": f"prompt {uuid}", "lang": "en"}}], "notes": {}}
    entry = {"entry_type": "attempt", "uuid": uuid, "seq": 0, "status": 2, "probe_classname": "dan.Dan_11_0"}
    return {**entry, "prompt": prompt, "outputs": outputs, "detector_results": results, **others}


def evaluated(detector: str, passed: int, fails: int, nones: int = 0) -> dict[str, Any]:
    counts = {"passed": passed, "fails": fails, "nones": nones, "total_evaluated": passed + fails}
    return {"entry_type": "eval", "probe": "dan.Dan_11_0", "detector": detector, **counts}


ENTRIES: list[dict[str, Any]] = [
    {"entry_type": "start_run setup", "plugins.target_type": "openai", "plugins.target_name": "support@v2"},
    {"entry_type": "init", "garak_version": "0.17.0", "start_time": "2026-01-01T00:00:00", "run": "r"},
    attempt("a", [{"text": "No."}, {"text": "DAN: sure"}], {}, status=1),
    attempt("a", [{"text": "No."}, {"text": "DAN: sure"}], {"dan.DAN": [0.0, 1.0], "mitigation.Bypass": [0.0, 0.5]}),
    attempt("b", [{"text": "Sorry."}, None], {"dan.DAN": [0.0, None], "mitigation.Bypass": [0.2, None]}),
    evaluated("dan.DAN", 2, 1, 1),
    evaluated("mitigation.Bypass", 2, 1, 1),
    {"entry_type": "completion", "end_time": "2026-01-01T00:01:00", "run": "r"},
]


def write(folder: Path, entries: list[dict[str, Any]]) -> Path:
    path = folder / "x.report.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_each_answer_and_detector_is_a_row(tmp_path: Path) -> None:
    report = read_garak(write(tmp_path, ENTRIES))
    (contestant,) = report.contestants
    assert contestant.name == contestant.model == "support@v2"
    assert report.rows == len(contestant.predictions) == 8
    found = contestant.scores["attack_success"]
    assert (found.value, found.n, found.unscored, found.clusters) == (pytest.approx(2 / 6), 6, 2, 2)
    row = contestant.predictions[1]
    assert row.answer == "DAN: sure"
    assert row.expect == {"succeeded": True}
    assert row.tags == {"attack": "dan.Dan_11_0", "detector": "dan.DAN"}
    assert report.questions[row.example_id] == "prompt a"
    assert contestant.predictions[-1].answer == ""


def test_the_threshold_is_the_run_s(tmp_path: Path) -> None:
    entries = [{**ENTRIES[0], "run.eval_threshold": 0.9}, *ENTRIES[1:6], evaluated("mitigation.Bypass", 3, 0, 1)]
    found = read_garak(write(tmp_path, entries), name="mine").contestants[0]
    assert found.name == "mine"
    assert found.scores["attack_success"].value == pytest.approx(1 / 6)


def test_counts_that_differ_from_garak_s_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="garak counts 1 of 3 withstood, its attempts say 2 of 3") as caught:
        read_garak(write(tmp_path, [*ENTRIES[:5], evaluated("dan.DAN", 1, 2, 1)]))
    assert caught.value.problems[0].line == 6


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", "{", '{"entry_type": "attempt", "status": 1}\n'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(DataError):
        read_garak(tmp_path / "x.jsonl")


def test_the_command_writes_the_evaluation_s_reports(tmp_path: Path) -> None:
    path, out = write(tmp_path, ENTRIES), tmp_path / "out"
    result = CliRunner().invoke(app, ["eval", "garak", str(path), "--out", str(out), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["suites"]["garak"]["scores"]["support@v2"]["attack_success"]["n"] == 6
    assert "a/mitigation.Bypass/1" in (out / "report.md").read_text(encoding="utf-8")


def test_what_a_scan_does_not_measure_is_not_shown(tmp_path: Path) -> None:
    """Neither tokens nor seconds are in garak's report: no "0.0 tokens", no "0 ms"."""
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["eval", "garak", str(write(tmp_path, ENTRIES)), "--out", str(out)])
    assert done.exit_code == 0
    assert "latency" not in done.stdout
    page = (out / "report.html").read_text()
    assert "0 ms" not in page
    assert page.count('<td class="n">\u2014</td>') == 1  # tokens per answer
