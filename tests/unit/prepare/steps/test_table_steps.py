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
from tunesmith.prepare.steps.licences import Licences
from tunesmith.prepare.steps.profanity import Profanity
from tunesmith.prepare.steps.semantic_duplicates import SemanticDuplicates

FOLDER = "tunesmith.prepare.steps"
NEEDED: dict[str, dict[str, Any]] = {
    "decontaminate": {"against": ["eval.jsonl"]},
    "semantic_duplicates": {"model": "."},
}


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
def test_every_step_keeps_the_contract(name: str, row: Any, eval_set: Path, embeddings: Path) -> None:
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
        assert not verdict.reasons or name == "semantic_duplicates"  # whose model here knows none of these words
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


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    """A model of four words: car and automobile point the same way, but for 0.1; bank and river elsewhere."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {"[UNK]": 0, "car": 1, "automobile": 2, "bank": 3, "river": 4}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    table = np.array([[0, 0, 0, 1], [1, 0, 0, 0], [1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=np.float32)
    save_file({"embeddings": table}, str(tmp_path / "model.safetensors"))
    return tmp_path


def test_semantic_duplicates(row: Any, embeddings: Path) -> None:
    """cos(car, automobile) = 1 / sqrt(1.01) = 0.995; cos(car bank, automobile bank) = 0.9989."""
    texts = ["car", "bank", "automobile", "car bank", "river", "automobile bank", "car"]
    rows = [row(text, "river") for text in texts]
    step = SemanticDuplicates(model=".", of="question", threshold=0.99)
    measures = np.array([np.frombuffer(step.open(embeddings)(each), dtype=np.uint8) for each in rows])
    judgement = step.judge(measures, _seen(rows))
    assert judgement.reasons == dict.fromkeys((2, 5, 6), "semantic_duplicate")
    assert judgement.findings[2][0] == ("semantic_duplicate", "1.00 like a:0")
    assert judgement.findings[5][0].detail.endswith("like a:3")
    assert step.files(embeddings) == (embeddings / "model.safetensors", embeddings / "tokenizer.json")
    strict = SemanticDuplicates(model=".", of="question", threshold=0.9975)
    assert set(strict.judge(measures, _seen(rows)).reasons) == {5, 6}


def test_semantic_duplicates_against_every_pair(row: Any, embeddings: Path) -> None:
    random = np.random.default_rng(3)
    rows = [row("x", "y")] * 400
    vectors = random.standard_normal((400, 16))
    for copy in range(200, 400):
        vectors[copy] = vectors[copy - 200] + random.uniform(0, 0.25) * random.standard_normal(16)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    step = SemanticDuplicates(model=".", threshold=0.97)
    judgement = step.judge(vectors.view(np.uint8), _seen(rows))
    cosines = vectors.astype(np.float32) @ vectors.astype(np.float32).T
    alike = {int(place) for place in np.flatnonzero((np.tril(cosines, -1) >= 0.97).any(axis=1))}
    assert 50 < len(alike) < 200
    assert set(judgement.reasons) <= alike
    assert len(judgement.reasons) >= 0.98 * len(alike)


def test_a_missing_embedding_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no embedding model 'wheel:no_such_package'"):
        SemanticDuplicates(model="wheel:no_such_package").files(tmp_path)


@pytest.mark.parametrize(
    ("given", "kept", "reason"),
    [
        ({"license": "apache 2"}, "Apache-2.0", ""),
        ({"licence": "MIT License"}, "MIT", ""),
        ({"license": "CC-BY-NC-4.0"}, "", "licence_not_allowed"),
        ({"license": "Our own"}, "", "licence_not_allowed"),
        ({}, "", "no_licence"),
    ],
)
def test_licences(row: Any, tmp_path: Path, given: dict[str, str], kept: str, reason: str) -> None:
    licensed = row("a", "b").model_copy(update={"metadata": given})
    found = Licences(allow=("MIT", "apache-2.0")).open(tmp_path)(licensed)
    assert found.reason == reason
    if kept:
        assert found.content.metadata["license"] == kept
        assert found.findings == (("licence", kept),)
    assert Licences(default="mit").open(tmp_path)(row("a", "b")).content.metadata == {"license": "MIT"}


def test_profanity_is_reported_by_whole_words(row: Any, tmp_path: Path) -> None:
    found = Profanity().open(tmp_path)(row("This fucking card is shit", "Scunthorpe has a prickly pear"))
    assert found.findings == (("profanity", "user: fucking"), ("profanity", "user: shit"))
    (tmp_path / "words.txt").write_text("heck\n\n")
    own = Profanity(words="words.txt", built_in=False)
    assert own.files(tmp_path) == (tmp_path / "words.txt",)
    assert own.open(tmp_path)(row("What the heck, shit", "x")).findings == (("profanity", "user: heck"),)
    with pytest.raises(DataError, match="there are no words"):
        Profanity(built_in=False).open(tmp_path)
    with pytest.raises(DataError, match=r"missing\.txt: profanity\.words: there is no such file"):
        Profanity(words="missing.txt").open(tmp_path)
