"""A space is read as it is written, and refused whole with every problem of every end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import RecipeError
from tunesmith.search.pruning import losses_of
from tunesmith.search.space import Choice, Range, read_space


def problems(recipe: Path, *axes: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read_space(recipe, {}, axes)
    return [str(problem) for problem in caught.value.problems]


def test_ranges_and_choices(recipe: Path) -> None:
    axes = ["train.learning_rate=1e-5..1e-3:log", "train.method.rank=4..64", "train.method.dropout=0..0.2",
            "train.epochs=1,2,4"]  # fmt: skip
    _, space = read_space(recipe, {}, axes)
    assert space == (
        Range("train.learning_rate", 1e-5, 1e-3, log=True, whole=False),
        Range("train.method.rank", 4, 64, log=False, whole=True),
        Range("train.method.dropout", 0.0, 0.2, log=False, whole=False),
        Choice("train.epochs", ("1", "2", "4")),
    )
    assert space[1].own(4) == 4
    assert space[1].own(2) is None
    assert space[3].own(2) == "2"
    assert space[3].own(3) is None


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("epochs=1,2", "--space: epochs: is no option of training -> did you mean 'train.epochs'?"),
        ("prepare.max_tokens=1..2", "is no option of training"),
        ("train.epochs=2", "has nothing to choose from"),
        ("train.epochs", "has nothing to choose from"),
        ("train.learning_rate=1e-3..1e-5", "is no range"),
        ("train.learning_rate=0..1e-3:log", "above 0 with :log"),
        ("train.learning_rate=1e-5..1e-3:exp", "'exp' is not known -> allowed: log"),
        ("train.method.rank=0..8", "--space: train.method.rank: should be greater than or equal to 1"),
        ("train.method.rnak=4..8", "--space: train.method.rnak: there is no such field"),
    ],
)
def test_what_cannot_be_searched_is_said(recipe: Path, axis: str, said: str) -> None:
    assert any(said in problem for problem in problems(recipe, axis)), problems(recipe, axis)


def test_all_problems_at_once(recipe: Path) -> None:
    found = problems(recipe, "epochs=1,2", "train.epochs=2", "train.seed=1,2", "train.seed=3,4")
    assert len(found) == 3
    assert any("twice" in problem for problem in found)


def test_losses_are_counted_by_epoch(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert losses_of(file) == {}
    lines = ['{"step": 0, "validation_loss": 3.0}', '{"step": 1, "loss": 2.5}', '{"step": 6, "validation_loss": 2.0}']
    file.write_text("\n".join([*lines, '{"step": 12, "validation_loss": 1.5}']) + "\n")
    assert losses_of(file) == {1: 2.0, 2: 1.5}
