"""The memory plan: the fewest pieces that fit, worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.invariant.test_preference_runs import run
from tunesmith.train import memory, reference
from tunesmith.train.fit import Probe
from tunesmith.train.memory import Footprint, GiveBack, PeakWatch, plan_memory


def by_line(pieces: int) -> int:
    """The measurement confirms 10 bytes a token."""
    return {1: 1_000, 2: 500, 4: 250}[pieces]


@pytest.mark.parametrize(
    ("available", "pieces", "predicted"),
    [
        (10_000, 1, 3_200),  # 1000 resident + 1200 to stay + 10 * 100 tokens
        (3_200, 2, 2_700),  # 3200 is more than 0.9 * 3200; 1000 + 1200 + 10 * 50 fits into 2880
        (1_000, 4, 2_450),  # nothing fits: the smallest piece is chosen and `fits` says no
    ],
)
def test_the_fewest_pieces_that_fit(available: int, pieces: int, predicted: int) -> None:
    sizes = {1: 100, 2: 50, 4: 25}
    plan = plan_memory(Footprint(0, 1_000, 1_200), 10.0, sizes, available, by_line)
    assert (plan.accumulate, plan.predicted_peak_bytes) == (pieces, predicted)
    assert plan.fits == (available > 1_000)


def test_what_is_measured_counts_not_what_was_estimated() -> None:
    """By the line 3200 fit into 0.9 * 3600; measured 1100 bytes do not (3300 > 3240), half of them do."""
    measured = {1: 1_100, 2: 550}
    plan = plan_memory(Footprint(0, 1_000, 1_200), 10.0, {1: 100, 2: 50}, 3_600, measured.__getitem__)
    assert (plan.accumulate, plan.predicted_peak_bytes) == (2, 2_750)


def test_only_pieces_that_should_fit_are_measured() -> None:
    asked: list[int] = []

    def measure(pieces: int) -> int:
        asked.append(pieces)
        return 250

    plan_memory(Footprint(0, 1_000, 1_200), 10.0, {1: 100, 2: 50, 4: 25}, 2_800, measure)
    assert asked == [4]


def test_a_higher_use_before_the_first_step_is_the_peak() -> None:
    plan = plan_memory(Footprint(9_000, 1_000, 0), 1.0, {1: 10}, 20_000, lambda pieces: 10)
    assert plan.predicted_peak_bytes == 9_000


def test_bytes_per_token_is_the_slope_but_never_below_the_larger_point() -> None:
    assert Probe((10, 1_000), (30, 5_000)).bytes_per_token == 200  # (5000 - 1000) / 20
    assert Probe((10, 3_000), (30, 3_000)).bytes_per_token == 100  # slope 0, so 3000 / 30


def test_the_peak_mark_rises_with_an_allocation_and_is_at_least_the_present_size() -> None:
    memory.reset_peak()
    before = memory.peak_bytes()
    block = bytearray(64 << 20)
    assert memory.peak_bytes() >= before + len(block) // 2
    assert memory.available_bytes() > len(block)


@pytest.mark.parametrize("pieces", [1, 4])
def test_the_mismatched_pass_of_kto_is_part_of_the_plan(
    pieces: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes 64 MB here in every call of at most a piece's rows; the prediction has them, and so has the step."""
    in_steps: list[int] = []
    honest = reference.sequence_logprobs

    def heavy(model: Any, rows: Any, *rest: Any) -> torch.Tensor:
        taken = torch.ones(16 << 20)
        return honest(model, rows, *rest) * taken[0]

    def counted(model: Any, rows: Any, *rest: Any) -> torch.Tensor:
        in_steps.append(len(rows))
        return heavy(model, rows, *rest)

    light = run(tmp_path / "light", tiny, {"name": "kto"}, accumulate=pieces, epochs=1)
    monkeypatch.setattr("tunesmith.train.fit.sequence_logprobs", heavy)
    monkeypatch.setattr("tunesmith.train.loop.sequence_logprobs", counted)
    record = run(tmp_path / "heavy", tiny, {"name": "kto"}, accumulate=pieces, epochs=1)
    assert record.adapter_digest == light.adapter_digest
    assert max(in_steps) <= 4 // pieces
    assert record.predicted_peak_bytes - light.predicted_peak_bytes > 32 << 20


def test_a_watch_remembers_the_highest_use_over_restarts() -> None:
    watch = PeakWatch()
    block = bytearray(64 << 20)
    high = watch.highest
    del block
    noise = 2 << 20  # the kernel counts pages in batches
    assert watch.restart() <= high - (32 << 20) + noise
    assert watch.highest >= high - noise


def test_freed_memory_between_kept_memory_is_given_back() -> None:
    blocks = [torch.zeros(16_000) for _ in range(3000)]  # 64 kB each: from the C library's heap
    kept = blocks[-1]
    del blocks
    before = psutil.Process().memory_info().rss
    GiveBack()()
    assert psutil.Process().memory_info().rss < before - (100 << 20)
    assert not kept.any()


def test_giving_back_takes_at_most_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given = [0.0], []

    def trim() -> None:
        now[0] += 0.1
        given.append(now[0])

    monkeypatch.setattr(memory, "_trim", trim)
    give_back = GiveBack(share=0.02, clock=lambda: now[0])
    for _ in range(100):
        give_back()
        now[0] += 1.0
    assert given[0] == 0.1
    assert 15 <= len(given) <= 20  # 0.1 of every 5.1 seconds, seen once a second
