"""Steps of the recipe: their order, what they drop, change and find, and how a wrong one is named."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tunesmith import plugins
from tunesmith.errors import DataError, NotFound, RecipeError
from tunesmith.prepare.step import Finding, Judgement, Outcome, RowsSeen
from tunesmith.recipes import load_recipe
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation
from tunesmith.types.preference import Row

ROWS = "prompt,completion,language\na b,x,en\nc,y,de\na  b c,z,en\nd,w,fr\n"


class Upper(Value):
    """A row step that changes the answer and drops rows whose prompt is `unwanted`."""

    unwanted: str = ""

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """Change or drop one row."""

        def decide(row: Row) -> Outcome:
            assert isinstance(row, Conversation)
            user, answer = row.messages
            if user.content == self.unwanted:
                return Outcome(None, "unwanted", (Finding("unwanted", self.unwanted),))
            changed = answer.model_copy(update={"content": (answer.content or "").upper()})
            return Outcome(row.model_copy(update={"messages": (user, changed)}))

        return decide


class SameStart(Value):
    """A table step that keeps the first of rows whose prompts start with the same letter and reads a list of words."""

    words: str | None = None

    def files(self, folder: Path) -> tuple[Path, ...]:
        """The list of words."""
        return (folder / self.words,) if self.words else ()

    def open(self, folder: Path) -> Callable[[Row], bytes]:
        """The first letter."""
        return lambda row: (row.prompt[-1].content or " ").encode()[:1]

    def judge(self, measures: npt.NDArray[np.uint8], rows: RowsSeen) -> Judgement:
        """Every row after the first of its letter goes; the letter is the group."""
        assert measures.shape == (len(rows), 1)
        assert len(rows.splits) == len(rows)
        assert rows.content(0).prompt[-1].content == "a b"
        seen: set[int] = set()
        reasons = {}
        for index, letter in enumerate(measures[:, 0].tolist()):
            if letter in seen:
                reasons[index] = "near_duplicate"
            seen.add(letter)
        return Judgement(reasons=reasons, groups=measures[:, 0].astype(np.int64))


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = "tunesmith.prepare.steps"
    points = [
        importlib.metadata.EntryPoint("upper", f"{__name__}:Upper", folder),
        importlib.metadata.EntryPoint("same_start", f"{__name__}:SameStart", folder),
        importlib.metadata.EntryPoint("no_step", "tunesmith.types.recipe:SplitSpec", folder),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: points if group == folder else [])
    plugins.load.cache_clear()
    yield
    plugins.load.cache_clear()


def drops(dataset: Any) -> dict[str, tuple[str, ...]]:
    return {drop.reason: drop.where for drop in dataset.manifest.ledger.drops}


def test_steps_change_and_drop_rows_in_their_order(run: Any) -> None:
    dataset = run({"a.csv": ROWS}, steps=[{"name": "upper", "unwanted": "c"}, {"name": "same_start"}])
    assert [row.conversation.reference for row in dataset.examples("train")] == ["X", "W"]
    assert drops(dataset) == {"near_duplicate": ("a.csv:4",), "unwanted": ("a.csv:3",)}
    assert all(row.id == row.content.content_digest()[:16] for row in dataset.examples("train"))


def test_near_duplicates_do_not_count_towards_the_drop_rate(run: Any) -> None:
    dataset = run({"a.csv": ROWS}, steps=[{"name": "same_start"}], max_drop_rate=0.0)
    assert dataset.manifest.ledger.rows_used == 3
    with pytest.raises(DataError, match=r"25\.0% of the rows were dropped"):
        run({"a.csv": ROWS}, steps=[{"name": "upper", "unwanted": "c"}], max_drop_rate=0.2)


def test_where_keeps_rows_by_their_field(run: Any) -> None:
    dataset = run({"a.csv": ROWS}, steps=[{"name": "where", "field": "language", "values": ["en", "fr"]}])
    assert [row.line for row in dataset.examples("train")] == [2, 4, 5]
    assert drops(dataset) == {"not_where": ("a.csv:3",)}


def test_steps_that_drop_everything_leave_an_empty_split(run: Any) -> None:
    with pytest.raises(DataError, match="of 4 rows in: 4 not_where"):
        run({"a.csv": ROWS}, steps=[{"name": "where", "values": ["it"]}, {"name": "same_start"}])


def test_options_and_files_of_steps_make_another_dataset(run: Any, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("one")
    first = run({"a.csv": ROWS}, steps=[{"name": "same_start", "words": "words.txt"}])
    assert run({"a.csv": ROWS}, steps=[{"name": "same_start", "words": "words.txt"}]) == first
    (tmp_path / "words.txt").write_text("two")
    digests = {first.manifest.digest}
    digests.add(run({"a.csv": ROWS}, steps=[{"name": "same_start", "words": "words.txt"}]).manifest.digest)
    digests.add(run({"a.csv": ROWS}, steps=[{"name": "upper"}]).manifest.digest)
    digests.add(run({"a.csv": ROWS}, steps=[{"name": "upper", "unwanted": "q"}]).manifest.digest)
    assert len(digests) == 4


def test_wrong_steps_are_named(run: Any) -> None:
    with pytest.raises(NotFound, match="Did you mean 'where'"):
        run({"a.csv": ROWS}, steps=[{"name": "wehre"}])
    with pytest.raises(RecipeError, match=r"prepare\.steps\.0\.felid"):
        run({"a.csv": ROWS}, steps=[{"name": "where", "felid": "language"}])
    with pytest.raises(RecipeError, match=r"'no_step' is no step"):
        run({"a.csv": ROWS}, steps=[{"name": "no_step"}])


def test_a_recipe_names_the_line_of_a_wrong_option(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: a\nprepare:\n  sources: [{path: a.csv}]\n  steps:\n    - {name: where, feild: x}\n    - {name: wher}\n"
        "release: {name: a}\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    wrong, unknown = caught.value.problems
    assert (wrong.line, wrong.field) == (5, "prepare.steps.0.feild")
    assert "did you mean 'field'?" in (wrong.fix or "")
    assert (unknown.line, unknown.field) == (6, "prepare.steps.1.name")
    assert "did you mean 'where'?" in (unknown.fix or "")
