"""Distillation by hand, against a plain torch computation, and on the tiny model with itself and others as teacher."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from tunesmith.errors import ModelError, RecipeError
from tunesmith.models.teacher import give_teacher, load_teacher, shared_vocabulary, teacher_of
from tunesmith.models.weights import load_base
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.train import attention
from tunesmith.train.divergence import Divergence, token_divergence
from tunesmith.train.forward import Batching, attention_for, score, score_plainly
from tunesmith.train.objective import Group, Needs, TeacherSpec, rows_of
from tunesmith.train.objectives.distill import Distill
from tunesmith.types.conversation import Rendered

ROWS = [
    Rendered(token_ids=(5, 6, 7, 8), loss_weights=(0.0, 0.0, 1.0, 1.0), spans=()),
    Rendered(token_ids=(5, 6, 9), loss_weights=(0.0, 0.0, 2.0), spans=()),
]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of another size and seed with the same vocabulary."""
    return make_tiny_model(tmp_path_factory.mktemp("teacher"), seed=7, layers=3, hidden=48)


def logits(probabilities: list[float]) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Divergence(), math.log(2) - math.log(3) / 2),
        (Divergence(reverse=True), 0.75 * math.log(3) - math.log(2)),
        (Divergence(top_k=1), 0.0),  # one token alone has probability 1 under both
    ],
)
def test_divergence_by_hand(how: Divergence, expected: float) -> None:
    """Teacher (1/2, 1/2), student (3/4, 1/4); states are logits, read through the identity."""
    found = token_divergence(logits([0.75, 0.25]), torch.eye(2), logits([0.5, 0.5]), torch.eye(2), how)
    assert found.tolist() == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("top_k", [0, 4])
def test_divergence_and_gradients_equal_plain_torch(
    reverse: bool, temperature: float, top_k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of two rows, so that their borders are met; both the states' and the embedding's gradient."""
    monkeypatch.setattr("tunesmith.train.divergence.CHUNK_BYTES", 2 * 8 * 11)
    torch.manual_seed(0)
    hidden, weight = torch.randn(5, 6, requires_grad=True), torch.randn(11, 6, requires_grad=True)
    taught, output, scale = torch.randn(5, 3), torch.randn(11, 3), torch.rand(5)
    how = Divergence(reverse, temperature, top_k)
    ours = token_divergence(hidden, weight, taught, output, how)
    (ours * scale).sum().backward()
    got = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    student, teacher = hidden @ weight.t() / temperature, taught @ output.t() / temperature
    if top_k:
        teacher, chosen = teacher.topk(top_k, dim=1)
        student = student.gather(1, chosen)
    log_p, log_q = student.log_softmax(1), teacher.log_softmax(1)
    pair = (log_q, log_p) if reverse else (log_p, log_q)
    plain = torch.nn.functional.kl_div(*pair, reduction="none", log_target=True).sum(1) * temperature**2
    (plain * scale).sum().backward()
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got[0], hidden.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(got[1], weight.grad, rtol=1e-4, atol=1e-6)


def taught(tiny: Path, teacher: Path, batching: Batching) -> Any:
    attention.register()
    model = load_base(tiny, "float32", attention=attention_for(batching))
    give_teacher(model, load_teacher(teacher, None, tiny, "float32", attention_for(batching)))
    return model


@pytest.mark.parametrize("batching", ["tree", "padded"])
def test_the_loss_equals_two_plain_forwards(batching: Batching, tiny: Path, other: Path) -> None:
    objective = Distill(teacher=str(other), temperature=2.0, label_weight=0.25)
    model, groups = taught(tiny, other, batching), [Group(rows=(row,)) for row in ROWS]
    scored = score(model, rows_of(groups), batching, needs=objective.needs)
    total = objective.amount(groups)
    loss = objective.loss(scored, groups, total)
    plain, teacher, expected = load_base(tiny, "float32"), load_base(other, "float32"), 0.0
    for row in ROWS:
        ids = torch.tensor([row.token_ids])
        log_p, log_q = ((each(ids).logits[0, :-1] / 2.0).log_softmax(1) for each in (plain, teacher))
        weights = torch.tensor(row.loss_weights[1:])
        expected += 0.75 * 4.0 * ((log_q.exp() * (log_q - log_p)).sum(1) * weights).sum().item()
    said = zip(score_plainly(plain, ROWS), ([1.0, 1.0], [2.0]), strict=True)
    expected -= 0.25 * sum((values * torch.tensor(own)).sum().item() for values, own in said)
    assert total == 4.0
    assert loss.item() == pytest.approx(expected / total, rel=1e-5)
    assert objective.metrics(scored, groups)["divergence"] > 0.0


def test_a_model_does_not_differ_from_itself(tiny: Path) -> None:
    scored = score(taught(tiny, tiny, "tree"), ROWS, "tree", needs=Distill(teacher=str(tiny)).needs)
    assert scored.divergence is not None
    assert scored.divergence.abs().max().item() < 1e-6


def renumbered(tiny: Path, folder: Path) -> Path:
    """The tiny model with the ids of two bytes exchanged everywhere: the same model in another numbering."""
    make_tiny_model(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    first, second = (next(token for token, place in vocabulary.items() if place == index) for index in (7, 200))
    vocabulary[first], vocabulary[second] = 200, 7
    file.write_text(json.dumps(content))
    model = load_base(folder, "float32")
    with torch.no_grad():
        rows = model.get_input_embeddings().weight
        rows[[7, 200]] = rows[[200, 7]].clone()
    model.save_pretrained(folder)
    return folder


def test_vocabularies_are_compared_by_token_string(tiny: Path, tmp_path: Path) -> None:
    teacher = renumbered(tiny, tmp_path / "renumbered")
    model = taught(tiny, teacher, "tree")
    assert teacher_of(model).ids[[7, 200, 8]].tolist() == [200, 7, 8]
    scored = score(model, ROWS, "tree", needs=Distill(teacher=str(teacher)).needs)
    assert scored.divergence is not None
    assert scored.divergence.abs().max().item() < 1e-6


def test_another_vocabulary_is_refused_with_the_count(tiny: Path, tmp_path: Path) -> None:
    one, two = (AutoTokenizer.from_pretrained(tiny) for _ in range(2))
    two.add_tokens(["<new>", "<newer>"])
    with pytest.raises(ModelError, match=r"differ in 2 tokens \(such as '<new>', '<newer>'\)"):
        shared_vocabulary(one, two)


def test_the_run_learns_a_tuned_teacher(tiny: Path, tmp_path: Path) -> None:
    from tests.invariant.runs import run

    teacher = run(tmp_path / "teacher", tiny)
    objective = {"name": "distill", "teacher": str(tiny), "teacher_adapter": f"{teacher.path}/adapter"}
    record = run(tmp_path / "student", tiny, objective=objective)
    assert record.best_validation_loss is not None
    assert record.start_validation_loss is not None
    assert record.best_validation_loss < 0.5 * record.start_validation_loss
    lines = [json.loads(line) for line in (Path(record.path) / "metrics.jsonl").read_text().splitlines()]
    assert all({"divergence", "label_loss"} <= set(line) for line in lines if "loss" in line)


def test_a_method_with_virtual_tokens_has_no_teacher(tiny: Path, tmp_path: Path) -> None:
    from tests.invariant.runs import run

    with pytest.raises(RecipeError, match="virtual tokens"):
        run(tmp_path, tiny, objective={"name": "distill", "teacher": str(tiny)}, method={"name": "prompt"})


def test_the_teacher_is_part_of_the_run_s_identity(tiny: Path, other: Path, tmp_path: Path) -> None:
    assert Distill(teacher=str(tiny)).depends_on(tmp_path) != Distill(teacher=str(other)).depends_on(tmp_path)
    assert Distill(teacher=str(tiny)).needs == Needs(teacher=TeacherSpec(str(tiny)), divergence=Divergence())
