"""Each row of a packed batch has the low-rank product of its own adapter, however the rows are mixed."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from tunesmith.engine.backends._lora import Factors, LoraWeights
from tunesmith.engine.backends._lora_rows import ActiveAdapters
from tunesmith.engine.backends._lora_stack import FactorStack

SIZES = {"first": (12, 20), "second": (20, 7)}
RANKS = {"a": 4, "b": 1, "c": 8, "d": 4, "half": 3}

Runs = list[tuple[str | None, int]]


class Model(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        for name, (inputs, outputs) in SIZES.items():
            self.add_module(name, nn.Linear(inputs, outputs, dtype=dtype))

    def forward(self, rows: Tensor) -> Tensor:
        modules = dict(self.named_children())
        found: Tensor = modules["second"](modules["first"](rows[None]))
        return found[0]


def weights(name: str) -> LoraWeights:
    generator = torch.Generator().manual_seed(RANKS[name])
    found = {}
    for module, (inputs, outputs) in SIZES.items():
        if name != "half" or module == "first":
            down = torch.randn(inputs, RANKS[name], generator=generator)
            found[module] = Factors(down, torch.randn(RANKS[name], outputs, generator=generator))
    return found


def expected(model: Model, rows: Tensor, adapter: str | None) -> Tensor:
    """In the way that a merged weight would compute it, rounded after every layer."""
    modules, tuned = dict(model.named_children()), weights(adapter) if adapter else {}
    for name in SIZES:
        found = nn.functional.linear(rows, modules[name].weight, modules[name].bias)  # type: ignore[arg-type]
        if name in tuned:
            added = rows.float() @ tuned[name].down @ tuned[name].up
            found = (found.float() + added).to(found.dtype)
        rows = found
    return rows


def check(model: Model, adapters: ActiveAdapters, runs: Runs) -> None:
    order = adapters.select(runs)
    assert sorted(order) == list(range(len(runs)))
    parts = [torch.randn(runs[index][1], 12).to(next(model.parameters()).dtype) for index in order]
    with torch.inference_mode():
        found = model(torch.cat(parts)).split([len(part) for part in parts])
        for index, part, got in zip(order, parts, found, strict=True):
            wanted = expected(model, part, runs[index][0])
            torch.testing.assert_close(got, wanted, atol=0.5 if got.dtype == torch.bfloat16 else 1e-4, rtol=2e-2)


CASES: dict[str, Runs] = {
    "base alone": [(None, 3)],
    "one adapter": [("a", 1), ("a", 40)],
    "one adapter beside the base": [(None, 2), ("a", 1), (None, 1)],
    "one row each": [("a", 1), ("b", 1), ("c", 1)],
    "as many rows each, in turn": [("a", 1), ("b", 1), ("a", 1), ("b", 1)],
    "not as many rows each, and the base": [("a", 1), (None, 1), ("c", 3), ("b", 1), ("a", 1)],
    "a prompt beside steps": [("a", 100), ("b", 1), ("c", 1), (None, 1)],
    "two prompts and a step": [("a", 30), ("b", 1), ("c", 50)],
    "no factors in one layer": [("half", 1), ("a", 2), (None, 1)],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_rows_have_their_own_adapter(case: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Model(dtype)
    adapters = ActiveAdapters(model)
    for name in RANKS:
        adapters.add(name, weights(name))
    check(model, adapters, CASES[case])


def test_adapters_that_come_and_go() -> None:
    torch.manual_seed(0)
    model, chance = Model(torch.float32), random.Random(0)
    adapters = ActiveAdapters(model)
    for _ in range(150):
        absent = sorted(set(RANKS) - set(adapters.names()))
        if absent and chance.random() < 0.5:
            name = chance.choice(absent)
            adapters.add(name, weights(name))
        elif adapters.names() and chance.random() < 0.3:
            adapters.remove(chance.choice(adapters.names()))
        names = [None, *adapters.names()]
        check(model, adapters, [(chance.choice(names), chance.choice((1, 1, 1, 2, 5, 20))) for _ in range(6)])


def test_hooks_go_with_the_last_adapter_that_needs_them() -> None:
    model = Model(torch.float32)
    adapters = ActiveAdapters(model)
    adapters.add("a", weights("a"))
    adapters.add("half", weights("half"))
    adapters.remove("a")
    assert [name for name in SIZES if dict(model.named_children())[name]._forward_hooks] == ["first"]
    adapters.remove("half")
    assert not any(module._forward_hooks for module in model.children())


def test_an_adapter_keeps_its_place_and_a_new_one_takes_a_free_one() -> None:
    loaded = {name: weights(name) for name in RANKS}
    stack = FactorStack()
    stack.hold(("a", "c"), loaded)
    held = stack.factors["first"].down
    stack.hold(("c", "b"), loaded)
    assert stack.names == ["b", "c"]
    assert stack.factors["first"].down is held
    torch.testing.assert_close(held[0, :, :1], loaded["b"]["first"].down)
    assert not held[0, :, 1:].any()


def test_copies_of_an_adapter_that_left_are_dropped() -> None:
    loaded = {name: weights(name) for name in RANKS}
    stack = FactorStack()
    stack.hold(("a", "c"), loaded)
    stack.forget("b")
    assert stack.factors
    stack.forget("a")
    assert not stack.factors


def test_a_stack_is_made_anew_for_a_larger_rank_and_when_most_places_are_idle() -> None:
    loaded = {name: weights(name) for name in RANKS}
    stack = FactorStack()
    stack.hold(("a", "b"), loaded)
    stack.hold(("b", "c"), loaded)
    assert stack.factors["first"].down.shape == (2, 12, RANKS["c"])
    stack.hold(("a", "b", "c", "d", "half"), loaded)
    stack.hold(("a", "b"), loaded)
    assert stack.names == ["a", "b"]
