"""A run that does not fit is refused with changes that would fit, each worked out from the run itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.invariant.runs import run
from tunesmith.errors import TrainingFailed
from tunesmith.models.methods.full import Full
from tunesmith.models.methods.lora import Lora
from tunesmith.models.weights import load_base
from tunesmith.train import memory
from tunesmith.train.memory import Footprint, MemoryPlan
from tunesmith.train.objective import Group
from tunesmith.train.relief import Tight, changes_that_fit
from tunesmith.types.conversation import Rendered
from tunesmith.types.recipe import TrainSpec

LENGTHS = (*[50] * 19, 100)
GIGABYTE = 1 << 30


def group(length: int) -> Group:
    return Group(rows=(Rendered(token_ids=tuple(range(length)), loss_weights=(1.0,) * length, spans=()),))


def tight(model: Any, available: int, footprint: Footprint, **spec: Any) -> Tight:
    """10 MB a token, and the longest row has 100: 1 GB of activations."""
    plan = MemoryPlan(
        resident_bytes=footprint.resident,
        predicted_peak_bytes=footprint.peak(10e6 * 100),
        available_bytes=available,
        bytes_per_token=10e6,
        largest_piece_tokens=100,
        accumulate=16,
    )
    return Tight(TrainSpec.model_validate(spec), model, [group(length) for length in LENGTHS], footprint, plan)


def changes(found: Tight) -> tuple[str, ...]:
    return changes_that_fit(found, lambda one: len(one.rows[0].token_ids))


def test_shorter_rows_and_fewer_layers(tiny: Path) -> None:
    """0.9 * 1.2 GB = 1.08 GB of room, 0.4 GB of it resident: 68 tokens fit, so the 50s do. One of two layers takes
    (1 + 1) / (2 + 1) of 1 GB, which is 0.67 GB and fits too.
    """
    model = Lora().wrap(load_base(tiny, "bfloat16"), seed=0)
    found = changes(tight(model, int(1.2e9), Footprint(0, int(0.4e9), 0)))
    assert [text.split(" (")[0] for text in found] == ["prepare.max_tokens: 50", "train.method.last_layers: 1"]
    assert f"about {0.9e9 / GIGABYTE:.2f} GB; leaves out 1 of 20 examples" in found[0]
    assert "trains 1 of 2 layers" in found[1]


def test_half_precision_where_the_weights_are_whole(tiny: Path) -> None:
    """Room 0.81 GB; 0.2 GB resident and half of 1 GB of activations fit."""
    model = Lora().wrap(load_base(tiny, "float32"), seed=0)
    found = changes(tight(model, int(0.9e9), Footprint(0, int(0.2e9), 0), method={"name": "ia3"}))
    assert [text.split(" (")[0] for text in found] == ["prepare.max_tokens: 50", "train.precision: bfloat16"]


def test_a_low_rank_change_instead_of_all_weights(tiny: Path) -> None:
    """The moments of all weights take 1 GB, without which 0.2 + 1 GB fit into 0.9 * 1.4 GB."""
    model = Full().wrap(load_base(tiny, "bfloat16"), seed=0)
    footprint = Footprint(0, int(0.2e9), int(1e9))
    found = changes(tight(model, int(1.4e9), footprint, method={"name": "full"}))
    assert [text.split(" (")[0] for text in found] == ["train.method: {name: lora}"]


def test_nothing_helps_when_the_model_alone_does_not_fit(tiny: Path) -> None:
    model = Lora().wrap(load_base(tiny, "bfloat16"), seed=0)
    found = tight(model, int(1e9), Footprint(0, int(2e9), 0))
    assert changes(found) == ()
    assert f"{2e9 / GIGABYTE:.2f} GB are needed before the first row" in found.nothing_helps


def test_a_run_that_does_not_fit_is_refused_before_its_first_step(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda processes: 1 << 20)
    with pytest.raises(TrainingFailed, match="would not fit into memory") as caught:
        run(tmp_path, tiny)
    assert "No single change of the recipe is enough" in (caught.value.hint or "")
    assert not list(tmp_path.glob("runs/*/plan.json"))
