"""Plugins are found by listing folders, load by name, and bad names are answered with what there is."""

from __future__ import annotations

import importlib.metadata

import pytest
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import NotFound, TunesmithError
from tunesmith.types.base import Value


class Extra(Value):
    """A plugin from elsewhere."""


@pytest.fixture
def third_party(monkeypatch):
    points = [
        importlib.metadata.EntryPoint("extra", f"{__name__}:Extra", "tunesmith.gate.rules"),
        importlib.metadata.EntryPoint("broken", "tunesmith.errors:nearest", "tunesmith.gate.rules"),
    ]
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: points if group == "tunesmith.gate.rules" else []
    )
    plugins.load.cache_clear()
    yield
    plugins.load.cache_clear()


@pytest.mark.parametrize("folder", plugins.FOLDERS)
def test_every_folder_has_plugins_and_each_loads(folder):
    names = plugins.names(folder)
    assert names
    assert list(names) == sorted(names)
    for name in names:
        plugin = plugins.load(folder, name)
        assert issubclass(plugin, Value)
        assert plugin.model_config["frozen"]
        assert plugin.model_config["extra"] == "forbid"
        assert plugin.__doc__


@pytest.mark.parametrize("folder", plugins.FOLDERS)
def test_options_with_defaults_survive_json(folder):
    for name in plugins.names(folder):
        plugin = plugins.load(folder, name)
        if any(field.is_required() for field in plugin.model_fields.values()):
            continue
        try:
            value = plugin()
        except ValidationError as error:
            needs_one_of_several = [(detail["type"], detail["loc"]) for detail in error.errors()] == [
                ("value_error", ())
            ]
            if not needs_one_of_several:
                raise
            continue
        assert plugin.model_validate_json(value.model_dump_json()) == value


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(NotFound) as caught:
        plugins.load("tunesmith.models.methods", "lorra")
    assert "Did you mean 'lora'?" in (caught.value.hint or "")


def test_an_unknown_folder():
    with pytest.raises(NotFound, match=r"tunesmith\.models"):
        plugins.names("tunesmith.models.nothing")


@pytest.mark.usefixtures("third_party")
def test_entry_points_add_plugins():
    assert {"extra", "broken", "beats"} <= set(plugins.names("tunesmith.gate.rules"))
    assert plugins.load("tunesmith.gate.rules", "extra").__name__ == "Extra"


@pytest.mark.usefixtures("third_party")
def test_a_plugin_that_is_no_value_is_refused():
    with pytest.raises(TunesmithError, match="must be a class derived from"):
        plugins.load("tunesmith.gate.rules", "broken")
