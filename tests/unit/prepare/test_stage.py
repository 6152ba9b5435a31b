"""The prepare stage as a whole, on files that the tests write."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import DataError, RenderingError
from tunesmith.prepare.stage import prepare
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.recipe import PrepareSpec


def table(rows: int = 60) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["text", "category", "note"])
    for number in range(rows):
        writer.writerow([f"complaint {number}\nsecond line", ("card", "cash", "loan")[number % 3], number])
    return out.getvalue()


COLUMNS = {"prompt": "text", "completion": "category"}
FIELDS: dict[str, Any] = {
    "sources": [{"path": "a.csv", "columns": COLUMNS}],
    "split": {"validation": 0.1, "test": 0.2},
    "system": "Answer with one of {labels}.",
}


def test_classification_end_to_end(run: Any) -> None:
    dataset = run({"a.csv": table()}, **FIELDS)
    manifest = dataset.manifest
    assert {name: split.rows for name, split in manifest.splits.items()} == {"train": 42, "validation": 6, "test": 12}
    assert manifest.labels == ("card", "cash", "loan")
    assert dataset.system_prompt == "Answer with one of card, cash, loan."
    assert manifest.splits["test"].labels == {"card": 4, "cash": 4, "loan": 4}
    assert (manifest.ledger.rows_in, manifest.ledger.rows_used, manifest.ledger.drops) == (60, 60, ())
    # 7 words of system prompt, 4 of complaint, 1 label; only the label is trained.
    assert manifest.splits["train"].tokens == 42 * 12
    assert manifest.splits["train"].trained_tokens == 42
    assert manifest.splits["train"].longest == 12
    assert manifest.sources[0].format == "columns (csv)"
    example = dataset.examples("train")[0]
    assert [message.role for message in example.conversation.messages] == ["system", "user", "assistant"]
    assert example.id == example.conversation.content_digest()[:16]
    number = int(example.conversation.metadata["note"])
    assert example.line == 2 + 2 * number  # every record covers two lines


def test_the_second_time_the_result_is_reused(run: Any, renderer: Any) -> None:
    first = run({"a.csv": table()}, **FIELDS)
    rendered = renderer.rendered
    again = run({"a.csv": table()}, **FIELDS)
    assert again == first
    assert renderer.rendered == rendered


def test_other_input_makes_another_dataset(run: Any, renderer: Any) -> None:
    digests = {run({"a.csv": table()}, **FIELDS).manifest.digest}
    digests.add(run({"a.csv": table(61)}, **FIELDS).manifest.digest)
    digests.add(run({"a.csv": table()}, **{**FIELDS, "max_tokens": 99}).manifest.digest)
    renderer.template_digest = "other"
    digests.add(run({"a.csv": table()}, **FIELDS).manifest.digest)
    assert len(digests) == 4


def test_every_row_is_used_or_dropped_for_a_reason(run: Any) -> None:
    lines = ["prompt,completion", "a,x", "a,x", "a,y", "<bad>,x", "b " * 9 + ",x", "c,x"]
    dataset = run({"a.csv": "\n".join(lines)}, max_tokens=8)
    ledger = dataset.manifest.ledger
    assert (ledger.rows_in, ledger.rows_used) == (6, 2)
    assert {drop.reason: drop.where for drop in ledger.drops} == {
        "duplicate": ("a.csv:3",),
        "conflicting_answer": ("a.csv:4",),
        "unrenderable": ("a.csv:5",),
        "too_long": ("a.csv:6",),
    }
    assert ledger.tokens_in == 2 + 2 + 2 + 0 + 10 + 2


def test_duplicates_do_not_count_towards_the_drop_rate(run: Any) -> None:
    rows = "prompt,completion\n" + "a,x\n" * 9 + "b,x\n"
    assert run({"a.csv": rows}, max_drop_rate=0.0).manifest.ledger.rows_used == 2


def test_a_proof_that_fails_stops_the_stage(run: Any, refuted: Any, tmp_path: Path) -> None:
    with pytest.raises(RenderingError, match=r"turns end \(row 3 has no end\)"):
        run({"a.csv": table()}, by=refuted, **FIELDS)
    assert not (tmp_path / "home").exists()


def test_an_empty_asked_split_is_refused(run: Any) -> None:
    with pytest.raises(DataError) as caught:
        run({"a.csv": "prompt,completion\na,b\n"}, split={"validation": 0.1, "test": 0.1})
    assert [problem.field for problem in caught.value.problems] == ["prepare.split.validation", "prepare.split.test"]


def test_labels_need_classification_data(run: Any) -> None:
    rows = "prompt,completion\n" + "".join(f"q{number},a{number}\n" for number in range(5))
    with pytest.raises(DataError, match="there are 5"):
        run({"a.csv": rows}, system="One of {labels}")


@pytest.mark.parametrize(
    ("path", "message", "fix"),
    [
        ("trian.csv", "there is no such file", "did you mean 'train.csv'?"),
        ("zzz.csv", "there is no such file", "holds train.csv"),
        ("no/where.csv", "there is no such file", "does not exist"),
        ("empty", "holds no data files", "it is empty"),
        ("*.tsv", "matches no file", "check the pattern"),
        ("empt*", "matches folders only", "empt*/*"),
        ("table.xlsx", "files ending in '.xlsx' are not read", "export the sheet as CSV"),
    ],
)
def test_sources_that_cannot_be_read(path: str, message: str, fix: str, tmp_path: Path, renderer: Any) -> None:
    for name in ("train.csv", "table.xlsx"):
        (tmp_path / name).write_text("prompt,completion\na,b\n")
    (tmp_path / "empty").mkdir()
    spec = PrepareSpec.model_validate({"sources": [{"path": path}]})
    with pytest.raises(DataError) as caught:
        prepare(spec, renderer=renderer, base_dir=tmp_path, home=tmp_path / "home")
    (problem,) = caught.value.problems
    assert (problem.file, problem.field) == (path, "path")
    assert message in problem.message
    assert fix in (problem.fix or "")


def test_a_source_listed_twice_is_refused(run: Any) -> None:
    with pytest.raises(DataError, match="is listed twice"):
        run({"a.csv": table()}, sources=[{"path": "a.csv"}, {"path": "./a.csv"}])


@pytest.mark.parametrize(
    ("source", "message", "fix"),
    [
        ({}, "no format fits the keys 'text', 'category', 'note'", "columns: {prompt: text, completion: category}"),
        ({"format": "columns"}, "needs to know which columns", "'text', 'category', 'note'"),
        ({"format": "chat", "columns": COLUMNS}, "columns only apply to the columns format", "remove columns"),
        ({"columns": {"prompt": "txet", "completion": "category"}}, "is not a column", "did you mean 'text'?"),
    ],
)
def test_formats_that_do_not_fit(source: dict[str, Any], message: str, fix: str, run: Any) -> None:
    with pytest.raises(DataError) as caught:
        run({"a.csv": table(3)}, sources=[{"path": "a.csv", **source}])
    assert message in caught.value.problems[0].message
    assert fix in (caught.value.problems[0].fix or "")


def test_nearest_format_is_named(run: Any) -> None:
    with pytest.raises(DataError) as caught:
        run({"a.jsonl": '{"prompts": "a", "completions": "b"}'})
    assert (
        caught.value.problems[0].fix
        == "nearest: completion; rename 'prompts' to 'prompt', 'completions' to 'completion'"
    )


def test_with_the_tiny_model_and_the_real_renderer(tmp_path: Path) -> None:
    from tunesmith.models.template import Renderer

    (tmp_path / "a.csv").write_text(table(30))
    spec = PrepareSpec.model_validate(FIELDS)
    renderer = Renderer(make_tiny_model(tmp_path / "tiny"))
    dataset = prepare(spec, renderer=renderer, base_dir=tmp_path, home=tmp_path / "home")
    assert dataset.manifest.proof.passed
    assert dataset.manifest.ledger.rows_used == 30
    # Each answer is four letters and its end-of-turn token.
    assert dataset.manifest.splits["train"].trained_tokens == 5 * dataset.manifest.splits["train"].rows
