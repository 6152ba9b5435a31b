"""What every reader promises, found by listing the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith import plugins
from tunesmith.errors import DataError, NotFound, RecipeError
from tunesmith.evaluate.reader import FOLDER, load_reader
from tunesmith.types.fields import PluginSpec

NAMES = plugins.names(FOLDER)
NEEDED: dict[str, dict[str, object]] = {
    "rows": {"type": "qa"},
    "attacks": {"type": "qa"},
    "injection": {"contexts": "texts.jsonl", "attacks": "orders.json"},
}
"""Options without which a reader cannot be made."""


def spec(name: str, **options: object) -> PluginSpec:
    return PluginSpec.model_validate({"name": name, **NEEDED.get(name, {}), **options})


def test_there_are_readers() -> None:
    known = {"mmlu", "ifeval", "bfcl", "xstest", "mbpp", "harmbench", "bipia", "xquad", "gsm8k", "mt_bench", "rows"}
    assert known <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_is_a_frozen_value_that_survives_json(name: str) -> None:
    kind = plugins.load(FOLDER, name)
    made = kind.model_validate(NEEDED.get(name, {}))
    assert kind.model_validate_json(made.model_dump_json()) == made
    assert kind.model_config.get("frozen")
    with pytest.raises(RecipeError, match="no_such_option"):
        load_reader(spec(name, no_such_option=1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'{"a": ', b'[1, 2]\n"x"', b'"open\nquote'])
def test_a_file_that_is_something_else_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "irrelevance.json"
    path.write_bytes(content)
    with pytest.raises((DataError, NotFound)) as caught:
        list(load_reader(spec(name)).read(path, 0))
    assert "irrelevance.json" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, NotFound)) as caught:
        list(load_reader(spec(name)).read(tmp_path / "irrelevance.json", 0))
    assert "irrelevance.json" in str(caught.value)
