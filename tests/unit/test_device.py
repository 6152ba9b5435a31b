"""The device is decided once, from what is there; what is not there is refused with what is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.invariant.runs import run
from tunesmith.errors import ModelError
from tunesmith.models import device
from tunesmith.models.device import CPU, describe, resolve_device
from tunesmith.models.weights import resolve_precision
from tunesmith.train.memory import CudaMemory, HostMemory, PeakWatch, memory_of
from tunesmith.train.placement import Placement, placement_of, reproducible
from tunesmith.types.recipe import TrainSpec

GPUS = (torch.device("cuda", 0), torch.device("cuda", 1))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "present_devices", lambda: (CPU, *GPUS))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda which: f"GPU {torch.device(which).index}")


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.usefixtures("two_gpus")
def test_names_mean_devices_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert [resolve_device(name) for name in ("auto", "cuda", "cuda:1", "cpu")] == [GPUS[0], GPUS[0], GPUS[1], CPU]
    monkeypatch.setenv("LOCAL_RANK", "1")  # as torchrun sets it
    assert [resolve_device(name) for name in ("auto", "cuda", "cuda:0", "cpu")] == [GPUS[1], GPUS[1], GPUS[0], CPU]
    assert describe(GPUS[1]) == "cuda:1 (GPU 1)"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cuda:2", "mps", "gpu", "", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_with_what_is(name: str) -> None:
    with pytest.raises(ModelError, match="is not there") as caught:
        resolve_device(name)
    assert "There is: cpu, cuda:0 (GPU 0), cuda:1 (GPU 1)." in (caught.value.hint or "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_processor(tmp_path: Path, tiny: Path) -> None:
    assert resolve_device("auto") == CPU
    with pytest.raises(ModelError, match="'cuda:0' is not there"):
        run(tmp_path, tiny, device="cuda")
    assert not list(tmp_path.glob("runs/*"))


def test_precision_auto_is_what_the_device_is_fast_in(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Selected:
        def __init__(self, which: torch.device) -> None:
            asked.append(which)

        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "device", Selected)
    for native, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert resolve_precision("auto", GPUS[1]) == expected
        assert resolve_precision("float32", GPUS[1]) == "float32"
    assert asked == [GPUS[1], GPUS[1]]
    assert resolve_precision("auto", torch.device("meta")) == "float32"


@pytest.mark.usefixtures("two_gpus")
def test_the_digest_knows_what_changes_sums_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    def digested(**changes: Any) -> tuple[str, ...]:
        return placement_of(TrainSpec.model_validate({"precision": "float32", **changes})).digested

    assert digested(device="cpu") == digested(device="cpu", attention="segments") == ("float32",)
    assert digested(device="cpu", batching="padded") == ("float32",)
    assert digested(device="cpu", attention="dense") == ("float32", "tunesmith_tree_dense")
    assert digested(device="cuda:0") == digested(device="cuda:1") == ("float32", "cuda", "tunesmith_tree_flex")
    assert digested(device="cuda", batching="padded") == ("float32", "cuda")


@pytest.mark.usefixtures("two_gpus")
def test_a_resumed_run_that_moved_is_told() -> None:
    said: Any = Said()
    there = Placement(GPUS[1], "bfloat16", "sdpa")
    there.announce_move("cuda:1 (GPU 1)", said)
    assert said.lines == []
    there.announce_move("cuda:0 (GPU 0)", said)
    assert "began on cuda:0 (GPU 0) and goes on on cuda:1 (GPU 1)" in said.lines[0]


def test_on_a_gpu_sums_are_taken_in_a_fixed_order_and_exceptions_are_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # the user's own choice stays
    said: Any = Said()
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        with reproducible(GPUS[0], said):
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.is_deterministic_algorithms_warn_only_enabled()
            for _ in range(2):
                warnings.warn("some_kernel does not have a deterministic implementation, but you set", stacklevel=1)
            warnings.warn("something else", stacklevel=1)
        assert not torch.are_deterministic_algorithms_enabled()
        with reproducible(CPU, said):
            assert not torch.are_deterministic_algorithms_enabled()
    assert said.lines == ["warning: some_kernel adds in no fixed order here: a resumed run may differ in its last bits"]
    assert [str(warning.message) for warning in others] == ["something else"]


def test_a_gpus_memory_is_what_the_driver_has_free_and_torch_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """6 GB free at the driver and 3 GB held by torch's allocator, of which 2 GB were in use at most."""
    done: list[str] = []
    figures = {"mem_get_info": (6, 10), "memory_reserved": 3, "max_memory_allocated": 2}
    for name, figure in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda which, figure=figure: figure if which == GPUS[1] else None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("empty_cache"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda which: done.append(f"reset {which}"))
    memory = memory_of(GPUS[1])
    assert memory == CudaMemory(GPUS[1])
    assert (memory.available(), memory.peak()) == (9, 2)
    watch = PeakWatch(memory)
    assert (watch.highest, watch.restart(), watch.highest) == (2, 2, 2)
    assert done == ["empty_cache", "reset cuda:1"] * 2
    assert isinstance(memory_of(CPU), HostMemory)
