"""tunesmith graders: what a person sees when checking and trying a grader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.grade import sandbox
from tunesmith.grade.sandbox import Isolation

GRADER = "type: string_check\nname: mine\nreference: '{{item.expected}}'\n"


@pytest.fixture
def grader(tmp_path: Path) -> str:
    (tmp_path / "grader.yaml").write_text(GRADER)
    return str(tmp_path / "grader.yaml")


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["graders", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_valid_grader_and_its_score(grader: str, tmp_path: Path) -> None:
    assert run("validate", grader) == (0, f"{grader}: a valid string_check grader\n", "")
    (tmp_path / "item.json").write_text('{"expected": "paid"}')
    assert run("run", grader, "--answer", "paid", "--item", str(tmp_path / "item.json"))[:2] == (0, "score 1\n")
    code, shown, _ = run("run", grader, "--answer", "late", "--item", '{"expected": "paid"}', "--json")
    assert (code, json.loads(shown)["score"]) == (0, 0.0)


@pytest.mark.parametrize("kind", ["python", "multi"])
def test_what_this_machine_cannot_enforce_is_said_before_grading(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing() -> Isolation:
        return Isolation(files=False, calls=False)

    monkeypatch.setattr(sandbox, "isolation", nothing)
    spec = {"type": "python", "name": "mine", "source": "def grade(sample, item):\n    return 1.0\n"}
    if kind == "multi":
        spec = {"type": "multi", "graders": [spec], "calculate_output": "mine"}  # type: ignore[dict-item]
    (tmp_path / "grader.json").write_text(json.dumps(spec))
    code, shown, said = run("run", str(tmp_path / "grader.json"), "--answer", "paid")
    assert (code, shown.splitlines()[0]) == (0, "score 1")
    assert "can read what this user can read" in said
    assert "can use the network" in said


def test_an_unscored_answer_fails_and_says_why(grader: str) -> None:
    code, shown, _ = run("run", grader, "--answer", "paid")
    assert code == 1
    assert shown.startswith("unscored (invalid_variable_error): {{item.expected}}: no 'expected'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "GRADER"], "--answer: is missing"),
        (["run", "GRADER", "--answer", "a", "--item", "{"], "--item: cannot be read"),
        (["run", "GRADER", "--answer", "a", "--item", "no-such-file"], "--item: cannot be read"),
        (["validate", "no-such-file"], "there is no such file"),
    ],
)
def test_mistakes_are_explained(grader: str, arguments: list[str], message: str) -> None:
    code, _, complaint = run(*(grader if word == "GRADER" else word for word in arguments))
    assert code == 1
    assert message in complaint


def test_a_grader_that_cannot_work(grader: str) -> None:
    Path(grader).write_text("type: string_check\nrefrence: a\n")
    code, _, complaint = run("validate", grader)
    assert code == 1
    assert "The string_check grader is not acceptable" in complaint
    assert "reference" in complaint
