"""Four-bit bases against the definition of NormalFloat, and what is refused where it cannot be done."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.invariant.runs import run
from tunesmith.errors import MissingDependency, ModelError
from tunesmith.models.method import ParameterGroup
from tunesmith.models.methods.qlora import Qlora
from tunesmith.models.parameters import count_parameters
from tunesmith.models.quantised import expand_layers, expanded, quantise_layers
from tunesmith.models.weights import load_base
from tunesmith.testing.tiny import make_tiny_model
from tunesmith.train.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors

LAYER = "model.layers.0.mlp.up_proj"
# Appendix E of arXiv:2305.14314.
NF4 = torch.tensor(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334]
    + [-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224]
    + [0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
)


@pytest.mark.parametrize(("layer", "block"), [("mlp.down_proj", 64), ("mlp.up_proj", 32), ("self_attn.k_proj", 32)])
def test_a_four_bit_weight_is_the_nearest_normal_float_of_each_block(layer: str, block: int, tiny: Path) -> None:
    model = load_base(tiny, "float32")
    weight = model.get_submodule(f"model.layers.0.{layer}").weight.detach().clone()
    assert quantise_layers(model, double=False) == 14
    blocks = weight.reshape(-1, block)
    size = blocks.abs().amax(1, keepdim=True)
    nearest = NF4[(blocks[..., None] / size[..., None] - NF4).abs().argmin(-1)] * size
    got = expanded(model.get_submodule(f"model.layers.0.{layer}")).reshape(-1, block)
    torch.testing.assert_close(got, nearest, rtol=1e-5, atol=1e-6)


def test_rows_without_whole_blocks_are_refused(tmp_path: Path) -> None:
    model = load_base(make_tiny_model(tmp_path, hidden=24), "float32")
    with pytest.raises(ModelError, match="has 24 inputs, which is no multiple of 32"):
        quantise_layers(model, double=True)


def test_double_quantisation_adds_little_and_the_head_stays(tiny: Path) -> None:
    single, double = (load_base(tiny, "float32") for _ in range(2))
    quantise_layers(single, double=False)
    quantise_layers(double, double=True)
    a, b = (expanded(model.get_submodule(LAYER)) for model in (single, double))
    assert 0 < float((a - b).norm() / a.norm()) < 0.02
    assert type(double.get_output_embeddings()) is torch.nn.Linear


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_expanded_layers_compute_what_the_four_bit_ones_do(precision: Any, tiny: Path) -> None:
    model = load_base(tiny, precision)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    kept = model.get_submodule(LAYER).weight
    quantise_layers(model, double=True)
    assert torch.equal(kept, before[f"{LAYER}.weight"])
    ids = torch.tensor([[5, 6, 7, 40]])
    four_bit = model(ids).logits.float()
    assert expand_layers(model) == 14
    limit = 1e-4 if precision == "float32" else 0.1
    torch.testing.assert_close(model(ids).logits.float(), four_bit, rtol=limit, atol=limit)


def test_packed_parameters_count_as_what_they_stand_for(tiny: Path) -> None:
    base = sum(parameter.numel() for parameter in load_base(tiny, "float32").parameters())
    model = load_base(tiny, "float32")
    quantise_layers(model, double=True)
    assert count_parameters(model) == (sum(p.numel() for p in model.parameters() if p.requires_grad), base)


def test_a_run_says_how_far_its_start_is_from_the_base(tmp_path: Path, tiny: Path) -> None:
    record = run(tmp_path, tiny, epochs=1, method={"name": "qlora", "rank": 4})
    (check,) = [check for check in record.checks if check.name == "this method does not start as the base"]
    assert "away from the base on average" in check.detail


def test_without_bitsandbytes_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="need the package 'bitsandbytes'") as refused:
        Qlora().wrap(load_base(tiny, "float32"), 0)
    assert "tunesmith[qlora]" in str(refused.value)


def test_paged_moments_are_refused_without_a_gpu() -> None:
    parameter = torch.nn.Parameter(torch.ones(4))
    with pytest.raises(ModelError, match="adamw_8bit_paged needs a CUDA device"):
        make_optimizer([ParameterGroup([parameter])], 0.1, 0.0, "adamw_8bit_paged")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="paged moments need a GPU")
def test_paged_moments_resume_bit_exactly() -> None:
    def fresh() -> tuple[torch.nn.Parameter, Any]:
        parameter = torch.nn.Parameter(torch.linspace(-1, 1, 8192, device="cuda"))
        return parameter, make_optimizer([ParameterGroup([parameter])], 0.1, 0.0, "adamw_8bit_paged")

    def step(parameter: torch.nn.Parameter, optimizer: Any) -> None:
        optimizer.zero_grad()
        parameter.square().sum().backward()
        optimizer.step()

    whole, optimizer = fresh()
    step(whole, optimizer)
    state, weights = optimizer_tensors(optimizer), whole.detach().clone()
    step(whole, optimizer)
    again, resumed = fresh()
    step(again, resumed)
    with torch.no_grad():
        again.copy_(weights)
    load_optimizer_tensors(resumed, state)
    step(again, resumed)
    assert torch.equal(whole, again)


def test_counters_that_are_plain_numbers_survive_a_checkpoint() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = make_optimizer([ParameterGroup([parameter])], 0.1, 0.0)
    optimizer.state[parameter] = {"step": torch.tensor(3.0), "count": 3, "exp_avg": torch.ones(2)}
    saved = optimizer_tensors(optimizer)
    load_optimizer_tensors(optimizer, saved)
    assert optimizer.state[parameter]["count"] == 3
    assert isinstance(optimizer.state[parameter]["count"], int)
