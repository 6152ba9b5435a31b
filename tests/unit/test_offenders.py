"""Rows whose loss or gradient is no number are found one at a time."""

from __future__ import annotations

import torch

from tunesmith.train.offenders import not_finite, offenders

WEIGHT = torch.nn.Parameter(torch.tensor(0.0))


def test_rows_with_a_broken_loss_and_rows_with_a_broken_gradient() -> None:
    losses = {
        "sound": lambda: WEIGHT * 2,
        "not a number": lambda: WEIGHT * float("nan"),
        "infinite": lambda: WEIGHT + float("inf"),
        "infinite gradient": lambda: WEIGHT.abs().sqrt(),  # d sqrt(x) / dx at 0
    }
    found = offenders(list(losses), lambda name: losses[name](), [WEIGHT])
    assert found == ["not a number", "infinite", "infinite gradient"]
    assert WEIGHT.grad is None


def test_without_gradients_only_the_loss_counts() -> None:
    with torch.no_grad():
        assert offenders([1.0, float("inf"), 2.0], lambda value: WEIGHT + value, [WEIGHT]) == [float("inf")]


def test_the_message_names_the_cause() -> None:
    sound, broken = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.tensor([float("inf")]))
    rows = [f"r{index}" for index in range(7)]
    assert "It comes from: r0, r1, r2, r3, r4 and 2 more." in not_finite("Step 3: loss nan", rows, [sound]).message
    assert "No row alone gives it" in not_finite("Step 3", [], [sound]).message
    assert "weights themselves are not finite" in not_finite("Step 3", rows, [sound, broken]).message
