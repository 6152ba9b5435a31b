"""Recipes that come over HTTP: every problem at once with its line, and texts made to hurt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.errors import RecipeError
from tunesmith.judging import load_judgeable
from tunesmith.serve.api.recipes.handler import validate

GOOD = """\
name: colours
prepare:
  sources: [{path: rows.jsonl}]
evaluate: {suites: [mine.yaml]}
gate:
  rules: [{name: max_invalid, suite: mine, metric: invalid_rate, at_most: 0.1}]
release: {name: colours}
"""
WRONG = """\
name: colours
prepare:
  sources: [{path: rows.jsonl}]
train:
  epochs: "3"
  method: {name: lora, rang: 2}
gate:
  rules: [{name: min_score, metric: acuracy, at_least: 0.5}]
release: {name: colours}
relaese: {}
"""
LAUGHS = "\n".join(f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True))


def test_a_recipe_without_problems_comes_back_with_its_defaults() -> None:
    found = validate(GOOD)
    assert (found.valid, found.problems) == (True, ())
    assert found.recipe is not None
    assert found.recipe["train"]["method"]["name"] == "lora"
    assert "rank" in found.recipe["train"]["method"]
    assert found.recipe["prepare"]["sources"][0]["path"] == "rows.jsonl"
    again = validate(found.recipe)
    assert again.recipe == found.recipe


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    found = validate(WRONG)
    assert (found.valid, found.recipe) == (False, None)
    told = [(problem.line, problem.field) for problem in found.problems]
    assert told == [
        (5, "train.epochs"),
        (6, "train.method.rang"),
        (8, "gate.rules.0.metric"),
        (10, "relaese"),
    ]
    assert "rank" in str(found.problems[1].fix)
    assert "release" in str(found.problems[3].fix)


def test_the_same_problems_as_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    (tmp_path / "recipe.yaml").write_text(WRONG)
    with pytest.raises(RecipeError) as caught:
        load_judgeable(tmp_path / "recipe.yaml")
    given = [(each.message, each.line, each.field, each.fix) for each in caught.value.problems]
    assert [(each.message, each.line, each.field, each.fix) for each in validate(WRONG).problems] == given


def test_files_of_another_machine_are_not_looked_for() -> None:
    probing = GOOD.replace("rows.jsonl", "/etc/passwd").replace("mine.yaml", "/etc/hosts")
    assert validate(probing).valid
    template = GOOD + "model: {template: /etc/hostname.jinja}\n"
    found = validate(template)
    assert found.recipe is not None
    assert found.recipe["model"]["template"] == "/etc/hostname.jinja"


def test_an_object_is_checked_like_a_text() -> None:
    found = validate({"name": "A B", "prepare": {"sources": []}})
    assert {problem.field for problem in found.problems} >= {"name", "prepare.sources"}
    assert all(problem.line is None for problem in found.problems)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: &a [1]\nb: *a\n", 2, "alias"),
        (f"a: &a [x, x]\n{LAUGHS}", 2, "alias"),
        ("x:\n  " + "[" * 500 + "]" * 500, 2, "nests deeper"),
        ("name: x\n  y: [", 2, "mapping values"),
        ("- a\n- b\n", 1, "a recipe is a mapping"),
        ("", 1, "a recipe is a mapping"),
        ("name: " + "9" * 5_000, None, "int"),
        ("day: 2024-13-45", None, "month"),
    ],
)
def test_texts_that_are_no_recipe(text: str, line: int | None, message: str) -> None:
    found = validate(text)
    assert not found.valid
    (problem,) = found.problems
    assert problem.line == line
    assert message in problem.message


def test_numbers_that_json_does_not_have_do_not_break_the_answer() -> None:
    found = validate(json.loads('{"name": "x", "train": {"learning_rate": 1e999}}'))
    assert found.model_dump_json()
