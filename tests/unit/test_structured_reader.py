"""Rows of the training format are a suite as they stand, and are asked exactly as training shows them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tunesmith.errors import DataError
from tunesmith.evaluate.readers.structured import Structured as Reader
from tunesmith.evaluate.running import RunOptions, run_suite
from tunesmith.evaluate.subject import Asked, Reply
from tunesmith.evaluate.suite import load_suite
from tunesmith.judging import refuse_unjudgeable
from tunesmith.prepare.formats.structured import Structured as Format
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.types.conversation import Message
from tunesmith.types.suite import Item

ACME = Path(__file__).parents[2] / "examples" / "acme"
DOCUMENTS = [{"id": "d1", "text": "Standard delivery costs 5.90 euros."}, {"id": 2, "text": "Returns are free."}]
OUTPUT = {"status": "answered", "answer": "It costs 5.90 euros.", "citations": ["d1"]}


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "given",
    [
        {"system": "Be brief.", "context": DOCUMENTS, "user": "¿Cuánto cuesta?"},
        {"context": DOCUMENTS[:1], "user": "How much?\n\nTell me."},
        {"context": [], "user": "How much?"},
        {"user": "How much?"},
    ],
)
def test_a_row_is_asked_as_training_shows_it(tmp_path: Path, given: dict[str, Any]) -> None:
    row = {"input": given, "output": {**OUTPUT, "citations": []}}
    (item,) = Reader().read(write(tmp_path, row), 0)
    learned = Format().parse(row)
    assert item.messages == learned.prompt
    assert item.reference == learned.reference


def test_every_held_out_row_of_acme_is_asked_as_training_shows_it() -> None:
    rows = [json.loads(line) for line in (ACME / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    items = list(Reader().read(ACME / "test.jsonl", 0))
    assert [(item.messages, item.reference) for item in items] == [
        (learned.prompt, learned.reference) for learned in map(Format().parse, rows)
    ]
    assert len({item.id for item in items}) == len(rows)


def test_what_is_expected_of_an_answer(tmp_path: Path) -> None:
    asked = {"context": DOCUMENTS, "user": "How much?"}
    refused = {"status": "refused", "answer": "No.", "citations": [], "note": "ü"}
    path = write(
        tmp_path,
        {"input": asked, "output": OUTPUT, "language": "en", "turn": 3, "more": ["left out"]},
        {"input": asked, "output": refused},
    )
    schema: Any = {"type": "object"}
    first, second = Reader(json_schema=schema, refusals=("refused", "no_context")).read(path, 0)
    assert first.type == "grounded_qa"
    assert first.expect == {
        "json": OUTPUT,
        "schema": schema,
        "contexts": [DOCUMENTS[0], {"id": "2", "text": "Returns are free."}],
        "citations": ["d1"],
        "refusal": "comply",
    }
    assert first.tags == {"language": "en", "turn": "3", "status": "answered"}
    assert (second.expect["refusal"], second.tags) == ("refuse", {"status": "refused"})
    assert '"note": "ü"' in second.reference
    (plain,) = Reader().read(path, 1)
    assert set(plain.expect) == {"json", "contexts", "citations"}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"input": {"context": []}, "output": OUTPUT}, "input.user"),
        ({"input": {"user": "?", "question": "?"}, "output": OUTPUT}, "input.question"),
        ({"input": {"user": "?", "context": [{"id": True, "text": "x"}]}, "output": OUTPUT}, "input.context.0.id"),
        ({"input": {"user": "?"}, "output": "yes"}, "output"),
        ('{"input": ', None),
    ],
)
def test_a_row_of_another_form_is_refused_with_its_place(tmp_path: Path, row: Any, field: str | None) -> None:
    path = write(tmp_path, {"input": {"user": "?"}, "output": OUTPUT}, row)
    with pytest.raises(DataError) as caught:
        list(Reader().read(path, 0))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.field) == (str(path), 3, field)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(Reader().read(tmp_path / "none.jsonl", 0))


def test_acmes_suite_judges_what_the_system_prompt_asks_for() -> None:
    suite = load_suite(ACME / "suite.yaml")
    assert len(suite.items) == 187
    assert {item.expect["refusal"] for item in suite.items if item.tags["status"] == "answered"} == {"comply"}
    assert {item.expect["refusal"] for item in suite.items if item.tags["status"] != "answered"} == {"refuse"}
    titles = [spec.title for spec in suite.metrics]
    assert {"json_schema", "repair_rate", "citation_accuracy", "refusal_correctness", "tokens_per_answer"} <= set(
        titles
    )


class Oracle:
    """Answers as the rows do."""

    name = "oracle"
    identity: ClassVar[dict[str, Any]] = {"model": "oracle"}

    async def answer(self, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
        assert messages == item.messages
        return Reply(item.reference, len(item.reference.split()), 1, 0.1, 0.1, "stop", (), ())

    async def logprob(self, item: Item, answer: str) -> None:
        return None


def test_right_answers_are_right_in_every_metric_of_acmes_suite() -> None:
    suite = load_suite(ACME / "suite.yaml")
    report = asyncio.run(run_suite(suite, [Oracle()], RunOptions(), Silent()))
    scores = report.contestants[0].scores
    right = ("json_schema", "citation_accuracy", "refusal_correctness", "status_accuracy", "answer_accuracy")
    assert {name: (scores[name].value, scores[name].n) for name in right} == dict.fromkeys(right, (1.0, 187))
    assert scores["repair_rate"].value == scores["unknown_citation_rate"].value == 0.0
    assert (scores["groundedness"].value or 0.0) > 0.95
    assert (scores["json_schema"].low or 0.0) == pytest.approx(187 / (187 + 1.959964**2))


@pytest.mark.parametrize("name", ["recipe.yaml", "dpo.yaml"])
def test_acmes_gates_judge_what_its_suite_measures(name: str) -> None:
    recipe = load_recipe(ACME / name)
    refuse_unjudgeable(recipe, ACME)
    assert {rule.options["suite"] for rule in recipe.gate.rules} == {"acme"}
