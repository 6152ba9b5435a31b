"""Every way to compute the attention of a prefix tree gives the same losses and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import flex_attention

from tests.parity.measured import lora_off_its_start, loss_and_gradients
from tunesmith.errors import RecipeError
from tunesmith.models.template import Renderer
from tunesmith.train import tree_plans
from tunesmith.train.attention import ATTENTION, DENSE_ATTENTION, FLEX_ATTENTION, TREE_ATTENTIONS
from tunesmith.train.forward import attention_backend, attention_for, score
from tunesmith.train.selfchecks import leak_probe
from tunesmith.train.tree import fold
from tunesmith.train.tree_plans import DensePlan, FlexPlan, planner
from tunesmith.types.conversation import Conversation, Rendered

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
SYSTEM = "Answer with one word, and think of everything that was said before you do."
TURNS = {
    "shared system prompt": [(SYSTEM, ["hello", "hi"]), (SYSTEM, ["who are you?", "me"]), (SYSTEM, ["help", "no"])],
    "shared turns": [(SYSTEM, ["a", "b", "c", "d" * 150]), (SYSTEM, ["a", "b", "c", "e"]), (SYSTEM, ["a", "x"])],
    "nothing shared": [("A", ["one", "1"]), ("B and more", ["two", "2"]), (None, ["three", "3"])],
}

# torch computes FlexAttention's definition where it has no kernel for it, and says that this is slow.
plainly = pytest.mark.filterwarnings(
    "ignore:flex_attention called without torch.compile:UserWarning", "ignore:The .grad attribute:UserWarning"
)


def row(ids: Sequence[int]) -> Rendered:
    return Rendered(token_ids=tuple(ids), loss_weights=(1.0,) * len(ids), spans=())


@pytest.fixture(autouse=True)
def flex_backward_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch refuses gradients on the CPU because it has no fused kernel there; its plain computation has them."""
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *tensors: None)


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    """4 query heads share 2 key/value heads."""
    return lora_off_its_start(tiny)


@pytest.fixture(params=sorted(TURNS))
def rows(request: pytest.FixtureRequest, tiny: Path, chat: Callable[..., Conversation]) -> list[Rendered]:
    renderer = Renderer(tiny)
    return [renderer.render(chat(system, *turns)) for system, turns in TURNS[request.param]]


@plainly
@pytest.mark.parametrize("kind", [DENSE_ATTENTION, FLEX_ATTENTION])
def test_the_loss_and_gradients_equal_those_of_the_segments(model: Any, rows: list[Rendered], kind: str) -> None:
    expected, expected_gradients = loss_and_gradients(model, rows, "tree")
    got, gradients = loss_and_gradients(model, rows, kind)
    assert got == pytest.approx(expected, rel=1e-5)
    assert (gradients - expected_gradients).norm() / expected_gradients.norm() < 1e-5


@plainly
@pytest.mark.parametrize("kind", [DENSE_ATTENTION, FLEX_ATTENTION])
def test_no_branch_sees_another(model: Any, rows: list[Rendered], kind: str) -> None:
    with attention_backend(model, kind):
        assert leak_probe(model, rows[0]).passed


@plainly
def test_the_flex_plan_skips_blocks_that_nobody_sees() -> None:
    """Two branches of 300 tokens behind 40 shared ones are 640 nodes, so 5 blocks of 128: the second branch begins at
    node 340, in block 2. Blocks 3 and 4 hold nothing but the second branch and see block 0 (the opening), not block 1.
    """
    opening = list(range(10, 50))
    branches = [opening + [index] * 300 for index in (1, 2)]
    tree = fold([row(ids) for ids in branches])
    plan = FlexPlan.of(tree, torch.float32, CPU)
    seen = plan.blocks.to_dense()[0, 0]
    assert (tree.size, plan.filling, tuple(seen.shape)) == (640, 0, (5, 5))
    assert seen[3].tolist() == [1, 0, 1, 1, 0]
    assert seen[4].tolist() == [1, 0, 1, 1, 1]


@pytest.mark.slow
@plainly
def test_one_compiled_kernel_takes_trees_of_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """What CUDA runs is compiled, and every step has another tree: the first two sizes are compiled, and a tree of one
    block. `aot_eager` is the compiler without its last step, which alone needs a GPU for the backward pass.
    """
    compiled = torch.compile(flex_attention, backend="aot_eager")
    monkeypatch.setattr(tree_plans, "_flex_kernel", lambda device_type: compiled)
    before = counters["stats"]["unique_graphs"]
    torch.manual_seed(0)
    for branches in (5, 9, 3, 12, 7, 10, 6, 2, 11):
        tree = fold([row([1] * 40 + torch.randint(5, 50, (6 * branches,)).tolist()) for _ in range(branches)])
        inputs = [torch.randn(1, heads, tree.size, 8, requires_grad=True) for heads in (4, 2, 2)]
        outputs = [plan.of(tree, torch.float32, CPU).attend(*inputs, 0.3) for plan in (FlexPlan, DensePlan)]
        torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
        found, expected = (torch.autograd.grad(output.square().sum(), inputs) for output in outputs)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert counters["stats"]["unique_graphs"] - before <= 3


def test_the_dense_mask_is_the_ancestors() -> None:
    """The tree of `tunesmith.train.tree`: s - a - b, a - c - d, s - e."""
    sequences = [(0, 1, 2), (0, 1, 3, 4), (0, 5)]
    found = [row(ids) for ids in sequences]
    ancestors = {0: [0], 1: [0, 1], 2: [0, 1, 2], 3: [0, 1, 3], 4: [0, 1, 3, 4], 5: [0, 5]}
    expected = np.zeros((6, 6), dtype=bool)
    for node, visible in ancestors.items():
        expected[node, visible] = True
    assert DensePlan.of(fold(found), torch.float32, CPU).mask.tolist() == expected.tolist()


@plainly
def test_filled_up_nodes_have_no_part_in_anything(model: Any, rows: list[Rendered]) -> None:
    size = fold(rows).size
    assert FlexPlan.of(fold(rows), torch.float32, CPU).filling == -size % 128 > 0
    with attention_backend(model, FLEX_ATTENTION), torch.no_grad():
        assert bool(torch.isfinite(score(model, rows, "tree").logprobs).all())


def test_each_device_has_its_attention() -> None:
    assert attention_for("tree") == attention_for("tree", CPU, "segments") == ATTENTION
    assert attention_for("tree", CUDA) == attention_for("tree", CUDA, "flex") == FLEX_ATTENTION
    assert attention_for("tree", CPU, "dense") == attention_for("tree", CUDA, "dense") == DENSE_ATTENTION
    assert attention_for("tree", torch.device("meta")) == DENSE_ATTENTION
    assert attention_for("padded", CUDA) == "sdpa"
    assert len({planner(name) for name in TREE_ATTENTIONS}) == 3


@pytest.mark.parametrize(
    ("batching", "device", "kind", "message"),
    [
        ("tree", CPU, "flex", "'flex' has kernels for cuda only, and the run is on cpu"),
        ("tree", CUDA, "segments", "'segments' has kernels for cpu only, and the run is on cuda:0"),
        ("padded", CPU, "dense", "'dense' has no effect with train.batching: padded"),
    ],
)
def test_an_attention_that_cannot_be_is_refused(batching: Any, device: Any, kind: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=r"train\.attention: ") as caught:
        attention_for(batching, device, kind)
    assert message in str(caught.value)
