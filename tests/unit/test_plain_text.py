"""Plain text for continued training: read, rendered whole with the end of text, proven, trained by sft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import DataError, RecipeError, RenderingError
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.prepare.stage import prepare
from tunesmith.progress import Silent
from tunesmith.train.finish import TrainingInput
from tunesmith.train.stage import train
from tunesmith.types.preference import Text
from tunesmith.types.recipe import ModelSpec, PrepareSpec, TrainSpec

BOOK = "Once upon a time,\nthere was a {0}.\n\n\nIt had {0} \u00e9 names.  \n\n"


def stored(folder: Path, renderer: Renderer, text: str, **source: Any) -> Any:
    (folder / "book.txt").write_text(text, encoding="utf-8")
    share = source.pop("validation", 0)
    given = {"sources": [{"path": "book.txt", **source}], "split": {"validation": share, "test": 0}}
    return prepare(PrepareSpec.model_validate(given), renderer=renderer, base_dir=folder, home=folder / "home")


@pytest.mark.parametrize(
    ("unit", "rows"),
    [
        (None, [(1, "Once upon a time,\nthere was a cat."), (5, "It had cat \u00e9 names.")]),
        ("line", [(1, "Once upon a time,"), (2, "there was a cat."), (5, "It had cat \u00e9 names.")]),
        ("document", [(1, "Once upon a time,\nthere was a cat.\n\n\nIt had cat \u00e9 names.")]),
    ],
)
def test_rows_are_paragraphs_lines_or_the_document(
    unit: str | None, rows: list[tuple[int, str]], tiny: Path, tmp_path: Path
) -> None:
    dataset = stored(tmp_path, Renderer(tiny), BOOK.format("cat"), unit=unit)
    assert [(row.line, row.content) for row in dataset.examples("train")] == [
        (line, Text(text=text)) for line, text in rows
    ]
    assert dataset.manifest.shape == "text"
    assert dataset.manifest.proof.passed
    # a token for each byte and the end of text; nothing stands before the first, so it is not trained
    statistics = dataset.manifest.splits["train"]
    assert statistics.tokens == sum(len(text.encode()) + 1 for _, text in rows)
    assert statistics.trained_tokens == statistics.tokens - len(rows)


def test_the_row_is_the_text_and_its_end(tiny: Path) -> None:
    renderer = Renderer(tiny)
    (conversation,) = Text(text="a b").conversations
    row = renderer.render(conversation)
    assert "".join(map(renderer.piece, row.token_ids)) == "a b<|im_end|>"
    assert row.loss_weights == (0.0, 1.0, 1.0, 1.0)
    assert [(span.role, span.start, span.end) for span in row.spans] == [("text", 0, 4)]
    with pytest.raises(RenderingError, match="special token"):
        renderer.render(Text(text="a <|im_end|>").conversations[0])


def test_prose_with_commas_is_no_table(tiny: Path, tmp_path: Path) -> None:
    dataset = stored(tmp_path, Renderer(tiny), "Well, then.\n\nYes, no, and perhaps.\n")
    assert [row.content.text for row in dataset.examples("train")] == ["Well, then.", "Yes, no, and perhaps."]


def test_the_same_passage_twice_is_dropped_once(tiny: Path, tmp_path: Path) -> None:
    dataset = stored(tmp_path, Renderer(tiny), "Once.\n\nTwice.\n\nonce.\n")
    assert [(drop.reason, drop.where) for drop in dataset.manifest.ledger.drops] == [("duplicate", ("book.txt:5",))]


def test_sft_learns_a_text(tiny: Path, tmp_path: Path) -> None:
    base = resolve_base(ModelSpec(base=str(tiny)), tmp_path)
    text = "\n\n".join(f"{number} is the number of the day." for number in range(24))
    dataset = stored(tmp_path, Renderer(base.path), text, validation=0.25)
    spec = {"epochs": 3, "batch_size": 4, "learning_rate": 0.02, "trackers": [], "precision": "float32"}
    record = train(TrainSpec.model_validate(spec), TrainingInput("t", base, dataset, tmp_path), Silent())
    before, after = record.start_validation_loss, record.best_validation_loss
    assert before is not None
    assert after is not None
    assert after < 0.9 * before


def test_a_preference_objective_refuses_text(tiny: Path, tmp_path: Path) -> None:
    base = resolve_base(ModelSpec(base=str(tiny)), tmp_path)
    dataset = stored(tmp_path, Renderer(base.path), "Once.\n\nTwice.\n")
    spec = TrainSpec.model_validate({"objective": {"name": "dpo"}, "trackers": []})
    with pytest.raises(RecipeError, match=r"trains on preference rows, but prepare\.sources gives text rows"):
        train(spec, TrainingInput("t", base, dataset, tmp_path), Silent())


def test_a_text_without_words_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file is empty"):
        stored(tmp_path, Renderer(tiny), "\n \n")
