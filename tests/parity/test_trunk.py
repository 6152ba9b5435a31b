"""Training above a kept frozen trunk is training with whole forward passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.invariant.runs import run
from tunesmith.models.methods.lora import Lora
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.progress import Silent
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.train import attention
from tunesmith.train.backbone import parts, tree_states
from tunesmith.train.forward import score
from tunesmith.train.tree import fold
from tunesmith.train.trunk import Trunk, first_trained_layer
from tunesmith.types.conversation import Conversation


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("deep"), layers=4)


@pytest.mark.parametrize("system", ["Be brief.", None], ids=["shared opening", "nothing shared but the template"])
def test_loss_and_gradients_equal_whole_passes(
    deep: Path, chat: Callable[..., Conversation], system: str | None
) -> None:
    attention.register()
    model = Lora(rank=4, last_layers=1).wrap(load_base(deep, "float32", attention=attention.ATTENTION), seed=0).train()
    renderer = Renderer(deep)
    rows = [
        renderer.render(chat(system, *turns)) for turns in (("a", "b"), ("a", "b", "c", "d"), ("xyz", "b"), ("a", "b"))
    ]
    trunk = Trunk(model, [*rows, renderer.render(chat(system, "zz", "top"))], Silent())
    batch = [rows[2], rows[0], rows[1], rows[3]]
    results = []
    for kept in (None, trunk):
        model.zero_grad()
        scored = score(model, batch, "tree", kept)
        (scored.logprobs * scored.weights).sum().backward()
        results.append((scored.logprobs.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (plain, plain_gradients), (above, gradients) = results
    torch.testing.assert_close(above, plain, rtol=1e-5, atol=1e-5)
    assert len(gradients) == len(plain_gradients) == 14  # A and B of 7 linear layers
    for got, expected in zip(gradients, plain_gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_the_last_feed_forward_block_sees_only_nodes_that_predict(
    deep: Path, chat: Callable[..., Conversation]
) -> None:
    """And what comes out is what all nodes give (`test_tree_and_padded` compares with plain rows)."""
    attention.register()
    model = Lora(rank=4).wrap(load_base(deep, "float32", attention=attention.ATTENTION), seed=0).train()
    backbone, _ = parts(model)
    rows = [Renderer(deep).render(chat("Be brief.", *turns)) for turns in (("a", "b"), ("a", "bc"), ("xyz", "b"))]
    tree = fold(rows)
    nodes = tree.parent[(tree.weight > 0) & (tree.parent >= 0)]
    seen: list[int] = []
    handle = backbone.layers[-1].mlp.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[1]))
    with torch.no_grad():
        some, whole = tree_states(backbone, tree, nodes=nodes), tree_states(backbone, tree)
    handle.remove()
    assert seen == [len(set(nodes.tolist())), tree.size]
    torch.testing.assert_close(some, whole[torch.from_numpy(nodes)], rtol=1e-5, atol=1e-5)


def test_no_trunk_where_the_first_layer_or_an_embedding_is_trained(deep: Path) -> None:
    assert first_trained_layer(Lora(rank=2).wrap(load_base(deep, "float32"), seed=0)) == 0
    model = Lora(rank=2, last_layers=3).wrap(load_base(deep, "float32"), seed=0)
    assert first_trained_layer(model) == 1
    model.get_input_embeddings().weight.requires_grad_(True)
    assert first_trained_layer(model) == 0


def test_a_run_with_a_trunk_proves_it(tmp_path: Path, deep: Path) -> None:
    record = run(tmp_path, deep, epochs=1, method={"name": "lora", "rank": 4, "last_layers": 2})
    names = [check.name for check in record.checks if check.passed]
    assert "steps from the kept frozen layers equal whole forward passes" in names
