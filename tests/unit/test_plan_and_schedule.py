"""The plan is a pure function; the schedules follow their formulas."""

from __future__ import annotations

import pytest

from tunesmith.train.plan import TrainingPlan, split_evenly
from tunesmith.train.schedule import learning_rate


def test_every_epoch_visits_every_row_once_in_an_order_of_its_own() -> None:
    plan = TrainingPlan(rows=10, batch_size=4, epochs=3, seed=7)
    assert (plan.steps_per_epoch, plan.steps) == (3, 9)
    epochs = [[i for step in range(3 * e, 3 * e + 3) for i in plan.indices(step)] for e in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [plan.ends_epoch(step) for step in range(4)] == [False, False, True, False]


def test_a_step_depends_on_nothing_but_the_plan() -> None:
    first, second = TrainingPlan(10, 4, 3, 7), TrainingPlan(10, 4, 3, 7)
    assert first.indices(5) == second.indices(5)
    assert TrainingPlan(10, 4, 3, 8).indices(5) != first.indices(5)


@pytest.mark.parametrize(("count", "pieces", "sizes"), [(5, 2, [2, 3]), (2, 4, [1, 1]), (4, 1, [4])])
def test_split_evenly(count: int, pieces: int, sizes: list[int]) -> None:
    parts = list(split_evenly(list(range(count)), pieces))
    assert [len(part) for part in parts] == sizes
    assert [item for part in parts for item in part] == list(range(count))


@pytest.mark.parametrize(
    ("step", "schedule", "expected"),
    [
        (0, "cosine", 0.5),  # warm-up over 2 of 10 steps: (0 + 1) / 2
        (1, "cosine", 1.0),  # (1 + 1) / 2
        (2, "cosine", 1.0),  # t = 0
        (6, "cosine", 0.5),  # t = 4/8: (1 + cos(pi/2)) / 2
        (6, "linear", 0.5),  # 1 - 4/8
        (9, "linear", 0.125),  # 1 - 7/8
        (9, "constant", 1.0),
    ],
)
def test_schedule(step: int, schedule: str, expected: float) -> None:
    assert learning_rate(step, 10, 1.0, schedule, 0.2) == pytest.approx(expected)
