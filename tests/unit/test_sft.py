"""Options of supervised tuning: field weights, label smoothing, noise on the embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from tests.invariant.runs import SPEC
from tests.invariant.runs import run as run_plain
from tests.invariant.test_preference_runs import run
from tunesmith.errors import RecipeError
from tunesmith.models.methods.lora import Lora
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.train import attention
from tunesmith.train.forward import score
from tunesmith.train.json_fields import json_fields
from tunesmith.train.logprobs import token_logprobs
from tunesmith.train.noise import noisy
from tunesmith.train.objective import Group, Needs, Scored
from tunesmith.train.objectives.sft import Sft
from tunesmith.train.watched import add_watched, watched
from tunesmith.types.conversation import Conversation, Message, Rendered

ANSWER = '{"status": "öpen", "items": [{"id": 1, "why": "a \\" b"}, {"id": 22}], "deep": {"x": null}, "status2": []}'


def test_fields_of_nested_json() -> None:
    found = [(name, ANSWER[start:end]) for name, start, end in json_fields(ANSWER)]
    assert found == [
        ("status", '"öpen"'),
        ("items.id", "1"),
        ("items.why", '"a \\" b"'),
        ("items.id", "22"),
        ("items", '[{"id": 1, "why": "a \\" b"}, {"id": 22}]'),
        ("deep.x", "null"),
        ("deep", '{"x": null}'),
        ("status2", "[]"),
    ]


@pytest.mark.parametrize("text", ["", "plain {text}", '{"a": ', "{}", "[1, 2"])
def test_no_fields_in_what_is_no_json(text: str) -> None:
    assert json_fields(text) == ()


def test_json_inside_other_text() -> None:
    text = 'Sure {so}:\n```json\n{ "a" : 1 ,\n"b": [ ] }\n```'
    assert [(name, text[start:end]) for name, start, end in json_fields(text)] == [("a", "1"), ("b", "[ ]")]


def test_the_tokens_of_a_field_weigh_more(tiny: Path) -> None:
    renderer = Renderer(tiny)
    messages = (Message(role="user", content="q"), Message(role="assistant", content=ANSWER))
    conversation = Conversation(messages=messages)
    row = renderer.render(conversation)
    sft = Sft(field_weights={"status": 4.0, "items": 2.0, "items.id": 3.0})
    got = sft.weighted(row, conversation, renderer)
    pieces = [(renderer.piece(token), weight) for token, weight in zip(got.token_ids, got.loss_weights, strict=True)]
    by_weight = {weight: "".join(piece for piece, other in pieces if other == weight) for weight in (4.0, 6.0)}
    assert by_weight[6.0] == "122"  # both ids, inside items: 2 * 3
    assert by_weight[4.0].replace("�", "") == '"pen"'  # a byte tokenizer cuts ö in two
    assert sum(weight == 4.0 for _, weight in pieces) == len('"öpen"'.encode())
    assert [weight > 0 for weight in got.loss_weights] == [weight > 0 for weight in row.loss_weights]
    assert sft.weighted(row, conversation, renderer) == got
    assert Sft().weighted(row, conversation, renderer) is row


def test_a_field_that_no_answer_has_is_refused(tmp_path: Path, tiny: Path) -> None:
    rows = [{"prompt": f"{i}", "completion": json.dumps({"status": "ok"})} for i in range(20)]
    objective = {"name": "sft", "field_weights": {"statsu": 2.0}}
    with pytest.raises(RecipeError, match=r"field_weights\.statsu: no training answer has .*did you mean 'status'"):
        run(tmp_path, tiny, objective, rows)
    with pytest.raises(ValidationError, match="field_weights must be above 0"):
        Sft(field_weights={"a": 0.0})


def test_a_run_with_field_weights_proves_itself(tmp_path: Path, tiny: Path) -> None:
    rows = [{"prompt": f"{i}", "completion": json.dumps({"status": f"{i % 2}", "n": i})} for i in range(20)]
    record = run(tmp_path, tiny, {"name": "sft", "field_weights": {"status": 5.0}}, rows, epochs=1)
    assert all(check.passed for check in record.checks)


def test_token_accuracy_counts_tokens_and_not_rows_or_weights() -> None:
    """Three of four tokens in one piece and none of one in the other: 3/5, not the mean of 3/4 and 0."""
    sums: dict[str, float] = {}
    for hits in ([True, True, False, True], [False]):
        size = len(hits)
        every, ones = torch.arange(size), torch.linspace(0.5, 2.0, size)
        index = torch.zeros(size, dtype=torch.long)
        said = Scored(-ones, ones, size, every, index, ones, 1, hits=torch.tensor(hits))
        row = Rendered(token_ids=(1,) * (size + 1), loss_weights=(0.0, *ones.tolist()), spans=())
        add_watched(sums, Sft(), said, [Group(rows=(row,))], 2)
    assert watched(sums) == {"token_accuracy": 3 / 5}


def test_a_shared_token_counts_in_each_of_its_rows() -> None:
    """Two rows share the first token, which is right; their own second ones are not: 2/4."""
    incidence = torch.tensor([0, 1, 0, 2])
    ones, hits = torch.ones(4), torch.tensor([True, False, False])
    said = Scored(-ones[:3], ones[:3], 3, incidence, torch.tensor([0, 0, 1, 1]), ones, 2, hits=hits)
    assert Sft().shares(said)["token_accuracy"] == (2.0, 4.0)


def test_a_run_tells_the_accuracy_of_its_tokens(tmp_path: Path, tiny: Path) -> None:
    rows = [{"prompt": f"{i}", "completion": "aaaa"} for i in range(20)]
    record = run(tmp_path, tiny, {"name": "sft"}, rows, epochs=8)
    lines = [json.loads(line) for line in (Path(record.path) / "metrics.jsonl").read_text().splitlines()]
    trained = [line["token_accuracy"] for line in lines if "loss" in line]
    held_out = [line["validation_token_accuracy"] for line in lines if "validation_loss" in line]
    assert all(0.0 <= value <= 1.0 for value in trained + held_out)
    assert trained[-1] > trained[0]
    assert held_out[-1] > held_out[0]


def test_label_smoothing_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 5, generator=generator, requires_grad=True)
    weight = torch.randn(11, 5, generator=generator, requires_grad=True)
    targets = torch.randint(0, 11, (7,), generator=generator)
    got = -token_logprobs(hidden, weight, targets, 0.2).mean()
    expected = F.cross_entropy(hidden @ weight.t(), targets, label_smoothing=0.2)
    torch.testing.assert_close(got, expected)
    ours = torch.autograd.grad(got, (hidden, weight))
    theirs = torch.autograd.grad(expected, (hidden, weight))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_noise_has_the_size_of_the_paper() -> None:
    lengths = np.asarray([4, 4, 100, 100])
    torch.manual_seed(0)
    noise = noisy(torch.zeros(4, 400), lengths, alpha=5.0)
    bounds = 5.0 / np.sqrt(lengths * 400)
    assert (noise.abs().max(1).values.numpy() <= bounds).all()
    assert noise.std(1).numpy() == pytest.approx(bounds / 3**0.5, rel=0.1)  # of uniform(-b, b)


@pytest.mark.parametrize("batching", ["tree", "padded"])
def test_noise_is_for_training_only(tiny: Path, batching: Any) -> None:
    attention.register()
    name = attention.ATTENTION if batching == "tree" else "sdpa"
    model = Lora(rank=2).wrap(load_base(tiny, "float32", attention=name), seed=0)
    messages = (Message(role="user", content="q"), Message(role="assistant", content="some answer"))
    rows = [Renderer(tiny).render(Conversation(messages=messages))]
    needs = Needs(embedding_noise=5.0)
    plain = score(model.eval(), rows, batching).logprobs
    assert torch.equal(score(model.eval(), rows, batching, needs=needs).logprobs, plain)
    torch.manual_seed(1)
    first = score(model.train(), rows, batching, needs=needs).logprobs
    torch.manual_seed(1)
    assert torch.equal(score(model, rows, batching, needs=needs).logprobs, first)
    assert not torch.allclose(first, plain, atol=1e-3)


def test_noise_switches_the_kept_frozen_layers_off(tmp_path: Path) -> None:
    deep = make_tiny_model(tmp_path / "deep", layers=4)
    method = {**SPEC["method"], "dropout": 0.0, "last_layers": 2}  # type: ignore[dict-item]
    name = "steps from the kept frozen layers equal whole forward passes"
    for objective, kept in (({"name": "sft"}, True), ({"name": "sft", "neftune_alpha": 5.0}, False)):
        record = run_plain(tmp_path / str(kept), deep, epochs=1, method=method, objective=objective)
        assert any(check.name == name for check in record.checks) is kept


def test_with_noise_an_interrupted_run_finishes_the_same(tmp_path: Path, tiny: Path) -> None:
    objective = {"name": "sft", "neftune_alpha": 5.0, "label_smoothing": 0.1}
    first = run_plain(tmp_path / "one", tiny, epochs=1, objective=objective)
    second = run_plain(tmp_path / "two", tiny, epochs=1, objective=objective)
    assert first.adapter_digest == second.adapter_digest
