"""tunesmith models: what the registry holds, and moving aliases by hand."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.models.adapter import CONFIG_FILE, WEIGHTS_FILE, adapter_digest
from tunesmith.release.registry import Registry
from tunesmith.types.release import Release


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    registry = Registry(tmp_path / "home")
    for index in (1, 2):
        adapter = tmp_path / f"adapter-{index}"
        adapter.mkdir()
        (adapter / WEIGHTS_FILE).write_bytes(f"weights {index}".encode())
        (adapter / CONFIG_FILE).write_text("{}")
        text = dict.fromkeys(
            ("base", "base_digest", "template_digest", "dataset_digest", "report_digest", "decision_digest"), "x"
        )
        release = Release(
            name="disputes",
            adapter_digest=adapter_digest(adapter),
            outcome="pass",
            run="r",
            created="2026-01-01",
            **text,
        )
        registry.register(release, adapter)
    registry.close()
    return tmp_path / "home"


def call(*arguments: str):
    return CliRunner().invoke(app, ["models", *arguments])


def test_list_and_show(home):
    assert "disputes@v1" in call().stdout
    listed = json.loads(call("--json").stdout)
    assert [(item["name"], item["version"], item["aliases"]) for item in listed] == [
        ("disputes", 1, []),
        ("disputes", 2, []),
    ]
    assert json.loads(call("disputes@v1", "--json").stdout)["id"] == listed[0]["id"]


def test_an_alias_moves_and_rolls_back(home):
    assert json.loads(call("disputes@v1", "--alias", "stable", "--json").stdout)["aliases"] == ["stable"]
    assert json.loads(call("disputes@v2", "--alias", "stable", "--json").stdout)["aliases"] == ["stable"]
    assert json.loads(call("disputes", "--rollback", "stable", "--json").stdout)["version"] == 1
    assert "history of disputes:stable: v1 -> v2 -> v1" in call("disputes").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["dispute"], 1, "Did you mean 'disputes'?"),
        (["disputes@v1", "--alias", "Not Good"], 1, "no name for an alias"),
        (["disputes", "--rollback", "stable"], 1, "no release 'disputes:stable'"),
        (["--alias", "stable"], 2, "name the MODEL"),
    ],
)
def test_mistakes(home, arguments, code, message):
    result = call(*arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_an_empty_home_says_how_to_begin(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "nothing"))
    assert "tunesmith run RECIPE" in call().stdout
    assert json.loads(call("--json").stdout) == []
