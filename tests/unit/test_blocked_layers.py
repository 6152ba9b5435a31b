"""Layers that compute with a blocked copy of their weight give what they gave without it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tunesmith.engine.backends._blocked import _filled, block_linear_weights
from tunesmith.models.shared_copy import shared_copy

PLENTY = 1 << 30


def layers(dtype: torch.dtype = torch.float32, *, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(96, 160, bias=bias), nn.Linear(160, 7, bias=bias)).to(dtype)


def exact(model: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = copy.deepcopy(model).double()(x.double())
    return found.detach()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(1,), (2,), (1, 5), (16,), (3, 33)])
def test_float32_is_as_close_to_the_exact_product_as_before(rows: tuple[int, ...], bias: bool) -> None:
    model, x = layers(bias=bias), torch.randn(*rows, 96)
    wanted = exact(model, x)
    before = float((model(x).detach() - wanted).abs().max())
    assert block_linear_weights(model, PLENTY) == 2
    with torch.inference_mode():
        found = model(x)
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) < max(2 * before, 1e-6)


@pytest.mark.parametrize("rows", [1, 16, 70])
def test_bfloat16_is_within_its_own_rounding(rows: int) -> None:
    model, x = layers(torch.bfloat16), torch.randn(rows, 96, dtype=torch.bfloat16)
    wanted = exact(model, x)
    assert block_linear_weights(model, PLENTY) == 2
    with torch.inference_mode():
        torch.testing.assert_close(model(x).double(), wanted, rtol=0.02, atol=0.02)


def test_kernels_are_made_for_few_numbers_of_rows() -> None:
    asked = {rows: _filled(rows) for rows in range(1, 513)}
    assert all(rows <= filled <= max(2, 2 * rows - 1) for rows, filled in asked.items())
    assert len(set(asked.values())) <= 24


def test_no_rows_give_no_rows() -> None:
    model = layers()
    block_linear_weights(model, PLENTY)
    with torch.inference_mode():
        assert model(torch.empty(0, 96)).shape == (0, 7)


def test_copies_share_the_blocked_weight_until_they_get_another_weight() -> None:
    model, x = layers(), torch.randn(4, 96)
    block_linear_weights(model, PLENTY)
    other = shared_copy(model)
    assert other[0].blocked is model[0].blocked
    with torch.inference_mode():
        before = model(x)
        assert torch.equal(other(x), before)
        other[0].weight = nn.Parameter(torch.zeros_like(other[0].weight), requires_grad=False)
        other[0].bias = None
        assert torch.equal(other[0](x), torch.zeros(4, 160))
        assert torch.equal(model(x), before)


def test_nothing_is_blocked_where_there_is_no_room_or_no_kernel_for_it() -> None:
    model, doubles = layers(), layers(torch.float64)
    assert block_linear_weights(model, model[0].weight.nbytes) == 0
    assert block_linear_weights(doubles, PLENTY) == 0
    assert not any(hasattr(each, "blocked") for each in (*model, *doubles))
