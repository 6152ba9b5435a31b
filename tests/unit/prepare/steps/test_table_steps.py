"""Conflicts and contamination by hand, and what every step promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunesmith import plugins
from tunesmith.errors import DataError
from tunesmith.prepare.step import RowStep, TableStep
from tunesmith.prepare.steps.conflicts import Conflicts
from tunesmith.prepare.steps.decontaminate import Decontaminate

FOLDER = "tunesmith.prepare.steps"
NEEDED: dict[str, dict[str, Any]] = {"decontaminate": {"against": ["eval.jsonl"]}}


def test_conflicts(row: Any, judged: Any) -> None:
    rows = [row("a", "x"), row("b", "x"), row(" A ", "y"), row("a", "x"), row("b", "X"), row("c", "z"), row("c", "w")]
    reported = judged(Conflicts(), rows)
    assert not reported.reasons
    assert sorted(reported.findings) == [0, 2, 3, 5, 6]  # b and B say the same
    assert reported.findings[2][0] == ("conflict", "'x' in 2 (a.csv:1); 'y' in 1 (a.csv:3)")
    assert set(judged(Conflicts(action="drop"), rows).reasons) == {0, 2, 3, 5, 6}
    assert judged(Conflicts(action="majority"), rows).reasons == dict.fromkeys((2, 5, 6), "conflicting_answer")


def test_no_conflicts(row: Any, judged: Any) -> None:
    assert judged(Conflicts(), [row("a", "x"), row("b", "y")]) == ({}, {}, None)


@pytest.fixture
def eval_set(tmp_path: Path) -> Path:
    questions = [
        "A train leaves the station at nine and travels sixty miles in one hour; how far today?",
        "What is the boiling point?",
    ]
    rows = [{"prompt": question, "completion": "180"} for question in questions]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (  # word for word: 17 words, 10 runs of 8
            "Solve: a TRAIN leaves the station at nine and travels sixty miles in one hour how far today",
            "100% (10 of 10 runs of 8 words) of eval.jsonl:1: 'A train leaves",
        ),
        (  # its first 12 words: 5 of 10 runs
            "A train leaves the station at nine and travels sixty miles in two days",
            "50% (5 of 10 runs of 8 words) of eval.jsonl:1",
        ),
        ("A train leaves the station at nine and travels sixty miles, then stops", None),
        ("A train leaves the station at nine and travels to Rome", None),  # 2 of 10
        ("what is the BOILING point", "is eval.jsonl:2: 'What is the boiling point?'"),
        ("what is the boiling point of water in Denver", None),  # short questions must be all that is said
    ],
)
def test_decontaminate(row: Any, eval_set: Path, text: str, shown: str | None) -> None:
    found = Decontaminate(against=("eval.jsonl",)).open(eval_set)(row(text, "yes"))
    assert found.reason == ("contaminated" if shown else "")
    assert (shown or "") in "".join(finding.detail for finding in found.findings)
    reported = Decontaminate(against=("eval.jsonl",), action="report").open(eval_set)(row(text, "yes"))
    assert reported.content == row(text, "yes")


def test_answers_of_evaluation_sets(row: Any, tmp_path: Path) -> None:
    answer = "He walks four miles a day for nine days, so thirty six miles in all"
    (tmp_path / "e.jsonl").write_text(json.dumps({"prompt": "How far?", "completion": answer}))
    trained = row("How many miles does he walk", answer)
    assert not Decontaminate(against=("e.jsonl",)).open(tmp_path)(trained).findings
    assert Decontaminate(against=("e.jsonl",), answers=True).open(tmp_path)(trained).reason == "contaminated"


def test_a_missing_evaluation_set_is_named(eval_set: Path) -> None:
    step = Decontaminate(against=("evil.jsonl",))
    with pytest.raises(DataError, match=r"did you mean 'eval\.jsonl'"):
        step.files(eval_set)
    assert Decontaminate(against=("eval.jsonl",)).files(eval_set) == ((eval_set / "eval.jsonl").resolve(),)


@pytest.mark.parametrize("name", plugins.names(FOLDER))
def test_every_step_keeps_the_contract(name: str, row: Any, eval_set: Path) -> None:
    """Deterministic, the row itself when nothing changes, measures of one length, and it can be sent to a process."""
    import pickle

    step = pickle.loads(pickle.dumps(plugins.load(FOLDER, name).model_validate(NEEDED.get(name, {}))))
    assert isinstance(step, RowStep)
    rows = [
        row("How do I block my card?", "Open the app and choose block."),
        row("Hi", "Hello"),
        row("x" + " x" * 399, "y"),
    ]
    first, again = ([step.open(eval_set)(each) for each in rows] for _ in range(2))
    assert first == again
    if isinstance(step, TableStep):
        assert len({len(measure) for measure in first}) == 1
        verdict = step.judge(np.array([np.frombuffer(each, dtype=np.uint8) for each in first]), _seen(rows))
        assert not verdict.reasons
    elif name != "where":  # the one that drops rows without the field it looks at
        assert all(found.content is each for found, each in zip(first, rows, strict=True))


def _seen(rows: list[Any]) -> Any:
    class Seen:
        splits = ["auto"] * len(rows)

        def __len__(self) -> int:
            return len(rows)

        def where(self, index: int) -> str:
            return f"a:{index}"

        def content(self, index: int) -> Any:
            return rows[index]

    return Seen()
