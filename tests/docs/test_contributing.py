"""The worked example of CONTRIBUTING.md is a plugin: dropped into its folder, it is listed, loaded and measured."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from tunesmith import plugins
from tunesmith.recipes import load_recipe

GUIDE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FOLDER = "tunesmith.evaluate.metrics"


@pytest.fixture
def example(tmp_path):
    (block,) = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", GUIDE, flags=re.S)
    path, code = block
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / Path(path).name).write_text(code, encoding="utf-8")
    package = importlib.import_module(FOLDER)
    package.__path__.append(str(tmp_path / "plugins"))
    plugins.load.cache_clear()
    importlib.invalidate_caches()
    yield Path(path).stem
    package.__path__.remove(str(tmp_path / "plugins"))
    plugins.load.cache_clear()
    sys.modules.pop(f"{FOLDER}.{Path(path).stem}", None)
    vars(package).pop(Path(path).stem, None)


def test_the_example_is_found_by_its_file_name(example):
    assert example == "first_word"
    assert example in plugins.names(FOLDER)
    assert plugins.load(FOLDER, example)().model_dump() == {"ignore_case": True}


def test_the_example_measures_what_its_docstring_says(example):
    from tunesmith.types.report import Prediction

    def row(answer: str, reference: str) -> Prediction:
        return Prediction(
            example_id="i",
            reference=reference,
            answer=answer,
            label=None,
            tokens=1,
            seconds=0.0,
            first_token_seconds=0.0,
            finish_reason="stop",
        )

    metric = plugins.load(FOLDER, example)()
    terms = metric.terms([row("Card lost", "card stolen"), row("fee", "refund"), row("", "refund")], ())
    assert terms.tolist() == [[1, 1], [0, 1], [0, 1]]
    assert float(metric.value(terms[:2].sum(axis=0))) == 0.5


def test_a_recipe_accepts_the_example(example, tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "recipe.yaml").write_text(
        "name: n\nprepare: {sources: [{path: rows.jsonl}]}\nrelease: {name: n}\n"
        "evaluate: {metrics: [accuracy, invalid_rate, first_word]}\n"
    )
    assert "first_word" in load_recipe(tmp_path / "recipe.yaml").evaluate.metrics


@pytest.mark.parametrize("folder", plugins.FOLDERS)
def test_every_plugin_folder_and_its_contract_are_in_the_table(folder):
    (contract,) = re.findall(rf"\| `{folder.replace('.', '/')}` \| `(\S+)` \|", GUIDE)
    assert (Path(plugins.__file__).parent / contract).is_file()
