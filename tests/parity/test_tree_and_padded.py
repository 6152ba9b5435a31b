"""The prefix tree, padded rows and the model's own forward give the same losses and gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.measured import lora_off_its_start, loss_and_gradients
from tunesmith.models.methods.lora import Lora
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.train import attention
from tunesmith.train.forward import attention_backend, score, score_plainly
from tunesmith.train.selfchecks import leak_probe
from tunesmith.types.conversation import Conversation, Rendered

SYSTEM = "Answer with one word."
TURNS: dict[str, list[tuple[str | None, list[str]]]] = {
    "shared system prompt": [
        (SYSTEM, ["hello", "hi"]),
        (SYSTEM, ["who are you, please?", "me"]),
        (SYSTEM, ["help", "no"]),
    ],
    "nothing shared": [("A", ["one", "1"]), ("B and more", ["two", "2"]), (None, ["three", "3"])],
    "shared turns": [
        (SYSTEM, ["a", "b", "c", "d"]),
        (SYSTEM, ["a", "b", "c", "e and a longer end"]),
        (SYSTEM, ["a", "b"]),
        (SYSTEM, ["a", "x", "c", "d"]),
    ],
    "equal rows": [(SYSTEM, ["a", "b"]), (SYSTEM, ["a", "b"])],
    "one row": [(SYSTEM, ["a", "b"])],
}


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    return lora_off_its_start(tiny)


@pytest.fixture(params=sorted(TURNS))
def rows(request: pytest.FixtureRequest, tiny: Path, chat: Callable[..., Conversation]) -> list[Rendered]:
    renderer = Renderer(tiny)
    return [renderer.render(chat(system, *turns)) for system, turns in TURNS[request.param]]


@pytest.mark.parametrize("how", ["tree", "padded"])
def test_loss_and_gradients_equal_the_plain_forward(model: Any, rows: list[Rendered], how: str) -> None:
    expected, expected_gradients = loss_and_gradients(model, rows, "plain")
    got, got_gradients = loss_and_gradients(model, rows, how)
    assert got == pytest.approx(expected, rel=1e-5)
    assert (got_gradients - expected_gradients).norm() / expected_gradients.norm() < 1e-5


@pytest.mark.parametrize("how", ["tree", "padded"])
def test_sequence_logprobs_count_shared_tokens_in_each_sequence(model: Any, rows: list[Rendered], how: Any) -> None:
    doubled = [row.model_copy(update={"loss_weights": tuple(2 * w for w in row.loss_weights)}) for row in rows[:1]]
    rows = [*doubled, *rows[1:]]
    with attention_backend(model, "sdpa"):
        plain = score_plainly(model, rows)
    expected = torch.stack([part.sum() for part in plain]) * torch.tensor([2.0] + [1.0] * (len(rows) - 1))
    with attention_backend(model, attention.ATTENTION if how == "tree" else "sdpa"):
        scored = score(model, rows, how)
        got = scored.sequence_logprobs()
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)
        assert scored.lengths().tolist() == [sum(row.loss_weights[1:]) for row in rows]
        # The gradient of one sequence alone: a shared token must pass on only that sequence's part.
        wanted = torch.autograd.grad(expected[0], trained(model), retain_graph=True)
        for found, one in zip(torch.autograd.grad(got[0], trained(model)), wanted, strict=True):
            torch.testing.assert_close(found, one, rtol=1e-3, atol=1e-4)


def trained(model: Any) -> list[torch.Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def test_the_fused_layers_equal_peft(model: Any, rows: list[Rendered], tiny: Path) -> None:
    loss, gradients = loss_and_gradients(model, rows, "tree")
    base = load_base(tiny, "float32", attention=attention.ATTENTION)
    plain = Lora(rank=4, dropout=1e-9).wrap(base, seed=0).train()  # any dropout keeps peft's own forward
    plain.load_state_dict(model.state_dict())
    for module in plain.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected, expected_gradients = loss_and_gradients(plain, rows, "tree")
    assert loss == pytest.approx(expected, rel=1e-6)
    assert (gradients - expected_gradients).norm() / expected_gradients.norm() < 1e-5


def test_leak_probe_holds_for_the_tree(model: Any, rows: list[Rendered]) -> None:
    assert leak_probe(model, rows[0]).passed


def test_leak_probe_catches_attention_without_a_mask(
    model: Any, rows: list[Rendered], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(tree: Any, dtype: Any, device: Any) -> Any:
        plan = attention.plan_attention(tree, dtype, device)
        every = torch.arange(tree.size)
        nothing = torch.zeros(1, tree.size, dtype=torch.bool)
        group = attention.Group(every[None], nothing, every, torch.zeros(1, 1, tree.size, tree.size))
        return attention.AttentionPlan((group,), plan.nodes)

    monkeypatch.setattr("tunesmith.train.backbone.planner", lambda name: leaky)
    assert not leak_probe(model, rows[0]).passed
