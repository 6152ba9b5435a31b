"""OFT, (IA)3, DoRA and bottleneck adapters: worked by hand where the library is not the definition, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tunesmith.errors import ModelError
from tunesmith.models.bottleneck_layers import Bottleneck, Shape
from tunesmith.models.methods.bottleneck import BottleneckAdapters
from tunesmith.models.methods.dora import Dora
from tunesmith.models.methods.freeze import Freeze
from tunesmith.models.methods.ia3 import Ia3
from tunesmith.models.methods.oft import Oft
from tunesmith.models.weights import load_base


def test_a_bottleneck_by_hand() -> None:
    """f(x) = x = (1, 2); D x + d = 1 - 2 + 3 = 2; relu 2; U 2 + u = (2, -4) + (0, 1); so y = (3, -1)."""
    module = Bottleneck(torch.nn.Identity(), Shape(2, 1, 0.0), torch.device("cpu"))
    values = {"down.weight": [[1.0, -1.0]], "down.bias": [3.0], "up.weight": [[1.0], [-2.0]], "up.bias": [0.0, 1.0]}
    module.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    assert module(torch.tensor([1.0, 2.0])).tolist() == [3.0, -1.0]


@pytest.mark.parametrize(("placement", "count"), [("houlsby", 4), ("pfeiffer", 2)])
def test_where_bottlenecks_are_put(placement: Any, count: int, tiny: Path) -> None:
    model = BottleneckAdapters(placement=placement, width=3).wrap(load_base(tiny, "float32"), 0)
    found = [name for name, module in model.named_modules() if isinstance(module, Bottleneck)]
    assert len(found) == count
    assert all(name.endswith(("mlp", "o_proj")) for name in found)


def test_bottlenecks_and_frozen_layers_in_another_family() -> None:
    """GPT-2 names its parts h, attn, c_proj and mlp."""
    config = GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=20, n_positions=16)
    ids = torch.tensor([[1, 2, 3]])
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config).eval()
    before = model(ids).logits
    assert torch.equal(BottleneckAdapters(width=2).wrap(model, 0)(ids).logits, before)
    assert sum(isinstance(module, Bottleneck) for module in model.modules()) == 4
    frozen = Freeze(last_layers=1).wrap(GPT2LMHeadModel(config), 0)
    assert {name.split(".")[2] for name, p in frozen.named_parameters() if p.requires_grad} == {"1"}


def test_a_model_without_such_parts_is_refused() -> None:
    class Odd(torch.nn.Module):
        base_model_prefix = "inner"

        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Module()
            self.config = GPT2Config()

    with pytest.raises(ModelError, match="Odd has no list of decoder layers"):
        Freeze().wrap(Odd(), 0)


def test_oft_rotates_and_names_a_block_size_that_divides(tiny: Path) -> None:
    """The exact Cayley transform is orthogonal: R^T R = I."""
    with pytest.raises(ModelError, match=r"block_size 24 does not divide the 32 inputs of model\.layers\.0") as refused:
        Oft(block_size=24).wrap(load_base(tiny, "float32"), 0)
    assert "16 does" in str(refused.value)
    model = Oft(block_size=8, exact=True, targets=("q_proj",)).wrap(load_base(tiny, "float32"), 0)
    rotation = model.get_base_model().get_submodule("model.layers.0.self_attn.q_proj").oft_R["default"]
    torch.nn.init.normal_(rotation.weight)
    r = rotation.get_weight()
    torch.testing.assert_close(r.T @ r, torch.eye(32), atol=1e-5, rtol=0)
    assert not torch.allclose(r, torch.eye(32), atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ("k_prj",)}, "Did you mean 'k_proj'"),
        ({"targets": ("k_proj",), "feedforward": ("up_proj",)}, "are not in targets"),
        ({"feedforward": ("up_proj",)}, "only goes with named targets"),
    ],
)
def test_ia3_options_that_do_not_fit(options: dict[str, Any], message: str, tiny: Path) -> None:
    with pytest.raises(ModelError, match=message):
        Ia3.model_validate(options).wrap(load_base(tiny, "float32"), 0)


def test_ia3_of_an_unknown_family_asks_for_layers(tiny: Path) -> None:
    model = load_base(tiny, "float32")
    model.config.model_type = "unheard"
    with pytest.raises(ModelError, match="auto knows nothing of models of type 'unheard'"):
        Ia3().wrap(model, 0)


def test_dora_scales_rows_of_the_direction_by_their_magnitude(tiny: Path) -> None:
    """Doubling m doubles every output of the layer: W' = m V / ||V|| (Liu et al. 2024, eq. 5)."""
    model = Dora(rank=2, targets=("q_proj",)).wrap(load_base(tiny, "float32"), 0).eval()
    layer = model.get_base_model().get_submodule("model.layers.0.self_attn.q_proj")
    x = torch.randn(3, 32)
    before = layer(x)
    with torch.no_grad():
        layer.lora_magnitude_vector["default"].weight *= 2
    torch.testing.assert_close(layer(x), 2 * before, rtol=1e-4, atol=1e-5)
