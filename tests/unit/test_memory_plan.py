"""The memory plan: the fewest pieces that fit, worked by hand."""

from __future__ import annotations

import pytest

from tunesmith.train import memory
from tunesmith.train.memory import plan_memory
from tunesmith.train.selfchecks import MemoryProbe


@pytest.mark.parametrize(
    ("available", "pieces", "predicted"),
    [
        (10_000, 1, 3_200),  # 1000 + 12 * 100 + 10 * 100 tokens
        (3_200, 2, 2_700),  # 3200 is more than 0.9 * 3200; 1000 + 1200 + 10 * 50 fits into 2880
        (1_000, 4, 2_450),  # nothing fits: the smallest piece is chosen and `fits` says no
    ],
)
def test_the_fewest_pieces_that_fit(available: int, pieces: int, predicted: int) -> None:
    plan = plan_memory(1_000, 100, 10.0, {1: 100, 2: 50, 4: 25}, available)
    assert (plan.accumulate, plan.predicted_peak_bytes) == (pieces, predicted)
    assert plan.fits == (available > 1_000)


def test_bytes_per_token_is_the_slope_but_never_below_the_larger_point() -> None:
    assert MemoryProbe(0, (10, 1_000), (30, 5_000)).bytes_per_token == 200  # (5000 - 1000) / 20
    assert MemoryProbe(0, (10, 3_000), (30, 3_000)).bytes_per_token == 100  # slope 0, so 3000 / 30


def test_the_peak_mark_rises_with_an_allocation_and_is_at_least_the_present_size() -> None:
    memory.reset_peak()
    before = memory.peak_bytes()
    block = bytearray(64 << 20)
    assert memory.peak_bytes() >= before + len(block) // 2
    assert memory.available_bytes() > len(block)
