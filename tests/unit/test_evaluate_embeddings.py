"""BERTScore and embedding similarity: the published formula by hand, and an encoder against transformers itself."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from tunesmith.errors import MissingDependency, ModelError
from tunesmith.evaluate.answer_store import AnswerStore
from tunesmith.evaluate.grading import graded
from tunesmith.evaluate.metric import Answered, Graded, grade_key, load_metric
from tunesmith.evaluate.scoring import score
from tunesmith.evaluate.token_matching import greedy_matching, pooled_cosine
from tunesmith.models.encoder import open_encoder
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.types.conversation import Message
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import Prediction
from tunesmith.types.suite import Item

ITEM = Item(id="i", type="qa", messages=(Message(role="user", content="?"),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("encoder"))


def row(answer: str, reference: str, **fields: Any) -> Prediction:
    base = {"example_id": "i", "label": None, "tokens": 4, "seconds": 2.0, "first_token_seconds": 0.5}
    return Prediction.model_validate(
        {**base, "finish_reason": "stop", "answer": answer, "reference": reference, **fields}
    )


def test_greedy_matching_by_hand() -> None:
    # cosines [[1, 0], [0.6, 0.8], [0, 1]]: precision (1 + 0.8 + 1) / 3, recall (1 + 1) / 2
    answer = np.array([[2.0, 0.0], [0.6, 0.8], [0.0, 3.0]], dtype=np.float32)
    reference = np.array([[1.0, 0.0], [0.0, 5.0]], dtype=np.float32)
    found = greedy_matching(answer, reference)
    assert found is not None
    precision = 2.8 / 3
    assert found == pytest.approx((precision, 1.0, 2 * precision / (precision + 1)))
    assert greedy_matching(answer[:0], reference) is None


def test_pooled_cosine_by_hand() -> None:
    # means (1, 1) and (1, 0)
    one, other = np.array([[2.0, 0.0], [0.0, 2.0]], dtype=np.float32), np.array([[1.0, 0.0]], dtype=np.float32)
    assert pooled_cosine(one, other) == pytest.approx(0.5**0.5)
    assert pooled_cosine(one, one[:0]) is None
    assert pooled_cosine(np.array([[1.0], [-1.0]], dtype=np.float32), other[:, :1]) is None


def test_vectors_are_the_models_hidden_states(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        states = model(**tokenizer("late fee", return_tensors="pt"), output_hidden_states=True).hidden_states
    for layer in (-1, 0, 1):
        found = open_encoder(str(folder), layer, tmp_path).encode("late fee")
        assert found.vectors == pytest.approx(states[layer][0].numpy(), abs=1e-5)
        assert found.content.all()
    assert open_encoder(str(folder), -1, tmp_path).encode("").vectors.shape == (0, 32)


@pytest.mark.parametrize("name", ["bertscore", "embedding_similarity"])
def test_a_metric_grades_with_the_encoder(name: str, folder: Path) -> None:
    spec = MetricSpec.model_validate({"name": name, "model": str(folder)})
    metric = load_metric(spec)
    assert isinstance(metric, Graded)
    rows = [row("fee", "fee"), row("fee", "refund"), row("fee", "refund", expect={"answers": ["fee"]}), row("", "fee")]
    grades = asyncio.run(metric.grade([Answered(ITEM, each) for each in rows], None))
    assert grades[0] == grades[2] == pytest.approx(1.0, abs=1e-5)
    assert grades[1] is not None
    assert 0.0 <= grades[1] < 0.999
    assert grades[3] == 0.0
    key = grade_key(metric)
    graded = [each.model_copy(update={"grades": {key: grade}}) for each, grade in zip(rows, grades, strict=True)]
    assert score(spec, graded, (), 0.95).value == pytest.approx(np.mean([float(each or 0) for each in grades]))


def test_other_weights_in_the_same_folder_grade_anew(tmp_path: Path) -> None:
    encoder, answers = make_tiny_model(tmp_path / "encoder"), AnswerStore(tmp_path / "answers")
    spec = MetricSpec.model_validate({"name": "embedding_similarity", "model": str(encoder)})

    def value() -> float | None:
        open_encoder.cache_clear()  # another process
        rows = asyncio.run(graded([spec], [ITEM], [row("a cat", "the dog")], None, answers))
        return score(spec, rows, (), 0.95).value

    first = value()
    kept = sorted(file.read_text() for file in (tmp_path / "answers").iterdir())
    assert value() == first
    assert sorted(file.read_text() for file in (tmp_path / "answers").iterdir()) == kept
    make_tiny_model(encoder, seed=1)
    assert value() != first


def test_bertscore_has_parts(folder: Path, tmp_path: Path) -> None:
    encoder = open_encoder(str(folder), -1, tmp_path)
    expected = greedy_matching(encoder.encode("a late fee").vectors, encoder.encode("fee").vectors)
    assert expected is not None
    for part in ("precision", "recall", "f1"):
        metric = load_metric(MetricSpec.model_validate({"name": "bertscore", "model": str(folder), "part": part}))
        assert isinstance(metric, Graded)
        found = asyncio.run(metric.grade([Answered(ITEM, row("a late fee", "fee"))], None))
        assert found[0] == pytest.approx(max(0.0, getattr(expected, part)))


def test_a_package_may_ship_its_folder_packed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "packed_encoder"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    with zipfile.ZipFile(package / "model.zip", "w") as packed:
        for file in folder.iterdir():
            packed.write(file, file.name)
    monkeypatch.syspath_prepend(str(package.parent))
    found = open_encoder("wheel:packed-encoder", -1, tmp_path / "home")
    assert (tmp_path / "home" / "models" / "packed-encoder" / "config.json").is_file()
    assert found.encode("fee").vectors == pytest.approx(open_encoder(str(folder), -1, tmp_path).encode("fee").vectors)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="'no-such-encoder'"):
        open_encoder("wheel:no-such-encoder", -1, tmp_path)
    with pytest.raises(ModelError, match="has no layer 9") as caught:
        open_encoder(str(folder), 9, tmp_path)
    assert "layers 0 to 2" in (caught.value.hint or "")
