"""The command line: light to start, clear when it fails, JSON for scripts, nothing but JSON on stdout then."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tunesmith
from tunesmith.cli.main import SUMMARIES, app
from tunesmith.errors import ModelError, Problem, RecipeError

COMMANDS = (
    "run", "decide", "prepare", "data", "train", "tune", "search", "ablate", "evaluate", "eval", "gate", "release",
    "serve", "worker", "keys", "audit", "chat", "runs", "graders", "augment", "convert", "distill", "canaries", "leak",
    "models", "merge", "plugins", "doctor", "drill", "demo",
)  # fmt: skip
HEAVY = ("torch", "transformers", "peft", "fastapi", "sqlalchemy", "scipy", "numpy", "pydantic", "rich.progress")
RECIPE = "name: n\nprepare: {sources: [{path: rows.jsonl}]}\nrelease: {name: n}\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return str(tmp_path / "recipe.yaml")


class Broken:
    """A pipeline in which every stage fails in the same way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getattr__(self, stage: str):
        def fail(*_: object) -> None:
            raise self.error

        return fail


@pytest.fixture
def failing(monkeypatch, home):
    def install(error: BaseException) -> None:
        monkeypatch.setattr(tunesmith, "pipeline", Broken(error), raising=False)

    return install


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


GROUPS = ("data", "keys", "audit", "eval")
OF_GROUPS = (
    *("data ls", "data show", "data diff", "data export", "data verify"),
    *("audit verify", "audit show"),
    *("eval run", "eval report", "eval compare", "eval list"),
    *("keys create", "keys ls", "keys revoke", "keys rotate"),
)


@pytest.mark.parametrize("command", [*(each for each in COMMANDS if each not in GROUPS), *OF_GROUPS])
def test_every_command_explains_itself(command):
    result = call(*command.split(), "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert "Usage" in result.stdout


def test_help_lists_every_command_in_the_order_of_work():
    result = call("--help")
    listed = re.findall(r"^  ([a-z]+)  ", result.stdout, flags=re.M)
    assert tuple(listed) == COMMANDS
    assert "..." not in result.stdout.split("Commands:")[1]


def test_help_imports_no_command_and_nothing_heavy():
    code = "import sys; from tunesmith.cli.main import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.splitlines()[-1].split())
    assert loaded.isdisjoint(HEAVY)
    assert loaded.isdisjoint(f"tunesmith.cli.{name}" for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_line_in_the_list_is_the_first_of_the_commands_own_help(command):
    lines = call(command, "--help").stdout.splitlines()
    assert lines[2].strip() == SUMMARIES[command]


def test_version():
    assert call("--version").stdout == f"tunesmith {tunesmith.__version__}\n"


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run"], ["run", "--nope"], ["serve", "--port", "70000"]])
def test_wrong_usage_is_exit_code_2(arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert "Traceback" not in result.output


def test_models_and_suites_of_one_name_are_refused_before_a_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    item = "items: [{type: qa, question: A, answer: b}]"
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"suite: same\n{item}\n")
    url = "m@http://127.0.0.1:9/v1"
    twice = call("eval", "run", str(tmp_path / "one.yaml"), "--model", url, "--model", url)
    assert "--model: 'm' is given twice -> write LABEL=" in " ".join(twice.stderr.split())
    suites = call("eval", "run", str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml"), "--model", url)
    assert "SUITE: 'same' is given twice" in " ".join(suites.stderr.split())
    absent = call("eval", "run", str(tmp_path / "one.yaml"), "--model", url, "--system", "@nowhere.txt")
    assert "nowhere.txt: --system: cannot be read" in " ".join(absent.stderr.split())


STAGES = ("run", "prepare", "train", "evaluate", "gate", "release")


@pytest.mark.parametrize("stage", STAGES)
def test_a_bad_recipe_is_explained_before_anything_runs(stage, recipe, home):
    Path(recipe).write_text(RECIPE.replace("rows", "row") + "train: {epocs: 3}\n")
    result = call(stage, recipe)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert (
        f"{recipe}:2: prepare.sources.0.path: 'row.jsonl': no such file -> did you mean 'rows.jsonl'?" in result.stderr
    )
    assert "did you mean 'epochs'?" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_with_json_a_failure_is_json_too(stage, recipe, home):
    Path(recipe).write_text(RECIPE + "train: {epocs: 3}\n")
    result = call(stage, recipe, "--json")
    error = json.loads(result.stdout)["error"]
    assert result.exit_code == 1
    assert error["type"] == "RecipeError"
    assert [(problem["line"], problem["field"]) for problem in error["problems"]] == [(4, "train.epocs")]


@pytest.mark.parametrize("stage", STAGES)
def test_a_failing_stage_prints_message_and_hint(stage, recipe, failing):
    failing(ModelError("The model does not fit.", hint="Close something."))
    result = call(stage, recipe)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-2:] == ["The model does not fit.", "Close something."]


def test_ctrl_c_says_how_to_resume(recipe, failing):
    failing(KeyboardInterrupt())
    result = call("train", recipe)
    assert result.exit_code == 130
    assert "resumes training at its last checkpoint" in result.stderr


def test_the_unexpected_is_one_line_and_a_way_to_see_more(recipe, failing):
    failing(ZeroDivisionError("division by zero"))
    result = call("train", recipe)
    assert result.exit_code == 1
    assert "ZeroDivisionError: division by zero" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["--debug", "train"], ["train", "--debug"]])
def test_debug_may_stand_anywhere_and_shows_the_traceback(arguments, recipe, failing):
    failing(ZeroDivisionError("division by zero"))
    result = call(*arguments, recipe)
    assert isinstance(result.exception, ZeroDivisionError)


def test_set_changes_a_field_and_is_checked(recipe, failing):
    failing(RecipeError([Problem("unreached")]))
    result = call("train", recipe, "--set", "train.epochs=0", "--set", "train.epochs")
    assert "'train.epochs' has no value -> write FIELD=VALUE" in result.stderr
    result = call("train", recipe, "--set", "train.epochs=0")
    assert "train.epochs: should be greater than or equal to 1, found 0" in result.stderr


def test_runs_of_an_empty_home(home):
    assert "Begin with: tunesmith run" in call("runs").stdout
    assert json.loads(call("runs", "--json").stdout) == []
    assert "is no run" in call("runs", "x").stderr


def test_an_unfinished_run_is_listed_as_such(home):
    (home / "runs" / "disputes-1").mkdir(parents=True)
    assert "not finished" in call("runs").stdout
    assert "not finished" in call("runs", "disp").stdout
    assert json.loads(call("runs", "--json").stdout)[0]["record"] is None
    result = call("runs", "dispute-1")
    assert (result.exit_code, "Did you mean 'disputes-1'?" in result.stderr) == (1, True)


def test_a_damaged_run_record_is_named(home):
    (home / "runs" / "a").mkdir(parents=True)
    (home / "runs" / "a" / "run.json").write_text("{}")
    result = call("runs")
    assert result.exit_code == 1
    assert "run.json cannot be read" in result.stderr


def test_plugins_shows_every_folder_and_option():
    from tunesmith import plugins

    shown = json.loads(call("plugins", "--json").stdout)
    assert set(shown) == set(plugins.FOLDERS)
    assert shown["tunesmith.models.methods"]["lora"]["options"]["rank"] == "16"
    assert "rank: 16" in call("plugins", "methods").stdout
    result = call("plugins", "method")
    assert (result.exit_code, "Did you mean 'methods'?" in result.stderr) == (1, True)


def test_there_is_nothing_to_serve_in_an_empty_home(home):
    result = call("serve")
    assert result.exit_code == 1
    assert "tunesmith run RECIPE" in result.stderr


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("generl", "--model", "base"), ("SUITE: 'generl': no such suite", "did you mean 'general'")),
        (("general", "--model", "base+promt"), ("+promt is no way of asking", "did you mean '+prompt'")),
        (("general", "--model", "base+3shots", "--examples", "generl"), ("--examples: 'generl': no such suite",)),
    ],
)
def test_what_eval_run_cannot_use_is_named_with_the_nearest(words, parts, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    found = " ".join(call("eval", "run", *words).stderr.split())
    assert found.startswith("The arguments cannot be used:")
    for part in parts:
        assert part in found


def test_a_waiver_that_cannot_be_signed_is_refused_before_anything_is_trained(recipe, failing):
    failing(AssertionError("the recipe was run"))
    result = call("gate", str(recipe), "--waive", "min_score", "--by", "Ann", "--until", "2020-01-01")
    assert result.exit_code == 1
    assert "--reason: is empty" in result.stderr
    assert "--until: 2020-01-01 is over" in result.stderr
