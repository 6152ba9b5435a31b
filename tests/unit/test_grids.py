"""A grid is taken apart as it is written, and refused whole with every problem of every point."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import RecipeError
from tunesmith.grids import load_grid


def problems(recipe: Path, *axes: str, **overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_grid(recipe, {field.replace("__", "."): value for field, value in overrides.items()}, axes)
    return [str(problem) for problem in caught.value.problems]


def test_all_combinations_the_last_axis_fastest(recipe: Path) -> None:
    points = load_grid(recipe, {"train.epochs": "3"}, ["train.learning_rate=1e-3,2e-3", "train.method.rank=8,16"])
    found = [(point.recipe.train.learning_rate, point.recipe.train.method.options["rank"]) for point in points]
    assert found == [(0.001, 8), (0.001, 16), (0.002, 8), (0.002, 16)]
    assert [tuple(point.options.values()) for point in points] == found
    assert {point.recipe.train.epochs for point in points} == {3}


def test_values_are_yaml_divided_outside_of_brackets_and_quotes(recipe: Path) -> None:
    axis = "train.method={name: lora, targets: [q_proj, v_proj]}, {name: ia3}"
    points = load_grid(recipe, {}, [axis])
    assert points[0].options == {"train.method": {"name": "lora", "targets": ["q_proj", "v_proj"]}}
    assert [point.recipe.train.method.name for point in points] == ["lora", "ia3"]


def test_what_comes_to_the_same_is_one_point(recipe: Path) -> None:
    assert len(load_grid(recipe, {}, ["train.learning_rate=1e-3,0.001", "train.seed=1,1"])) == 1


def test_every_problem_of_every_point_once(recipe: Path) -> None:
    found = problems(recipe, "train.learning_rat=1", "train.method.rank=8,0,none", "train.seed=1,-1")
    assert len(found) == len(set(found))
    assert any(line.startswith("--grid: train.learning_rat: there is no such field") for line in found)
    assert any("did you mean 'learning_rate'?" in line for line in found)
    assert any(line.startswith("--grid: train.method.rank: ") and "found 0" in line for line in found)
    assert any(line.startswith("--grid: train.method.rank: ") and '"none"' in line for line in found)
    assert any(line.startswith("--grid: train.seed: ") and "found -1" in line for line in found)


def test_a_problem_of_the_recipe_itself_keeps_its_line(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("rank: 4", "rnk: 4"))
    (found,) = problems(recipe, "train.seed=1,2")
    assert found.startswith(f"{recipe}:6: train.method.rnk: there is no such field")


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (["seed=1,2"], "--grid: seed: is no option of training -> did you mean 'train.seed'?"),
        (["prepare.max_tokens=8,16"], "set other fields for all points with --set"),
        (["train.seed"], "--grid: train.seed: has no values"),
        (["train.seed="], "--grid: train.seed: has no values"),
        (["train.seed=[1"], "--grid: train.seed: has no values"),
        (["train.seed=1", "train.seed=2"], "--grid: train.seed: is there twice"),
        (["train.epochs=1,2"], "--grid: train.epochs: is there in --set too"),
    ],
)
def test_a_grid_that_is_none(recipe: Path, axes: list[str], expected: str) -> None:
    (found,) = problems(recipe, *axes, train__epochs="3")
    assert expected in found
