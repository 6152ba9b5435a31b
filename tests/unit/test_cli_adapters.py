"""What a name on the command line means: a release, a run's folder or an adapter's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.cli.adapters import find_adapter
from tunesmith.errors import ModelError, NotFound
from tunesmith.models.adapter import CONFIG_FILE, WEIGHTS_FILE, adapter_digest
from tunesmith.progress import Silent
from tunesmith.release.registry import Registry
from tunesmith.settings import Settings
from tunesmith.types.release import Release

UNKNOWN = ("base_digest", "template_digest", "dataset_digest", "report_digest", "decision_digest", "run", "created")


@pytest.fixture
def settings(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    settings = Settings(home=tmp_path / "home")
    adapter = tmp_path / "made"
    adapter.mkdir()
    (adapter / WEIGHTS_FILE).write_bytes(b"weights")
    (adapter / CONFIG_FILE).write_text("{}")
    release = Release(
        name="acme",
        base=str(tiny),
        adapter_digest=adapter_digest(adapter),
        outcome="pass",
        **dict.fromkeys(UNKNOWN, "x"),
    )
    registry = Registry(settings.home)
    registry.register(release, adapter)
    registry.close()
    return settings


def test_a_release_goes_before_a_folder_of_its_name_that_is_no_adapter(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    found = find_adapter("acme", settings, Silent())
    assert found.folder.is_relative_to(settings.home)
    assert found.dataset == "x"


def test_a_folder_that_is_no_adapter_and_an_unknown_name_are_told_apart(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(ModelError, match=r"other does not say what base it belongs to: tunesmith\.json is missing"):
        find_adapter("other", settings, Silent())
    with pytest.raises(NotFound, match="acne"):
        find_adapter("acne", settings, Silent())
