"""Where and how a run computes: device, precision and attention, resolved once from the recipe."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch.utils import deterministic

from tunesmith.models.device import describe, resolve_device
from tunesmith.models.weights import resolve_precision
from tunesmith.progress import Progress
from tunesmith.train.forward import attention_for
from tunesmith.types.recipe import TrainSpec

__all__ = ["Placement", "placement_of", "reproducible"]

_NOT_DETERMINISTIC = "deterministic"


class Placement(NamedTuple):
    """`attention` is a name known to transformers."""

    device: torch.device
    precision: Literal["float32", "bfloat16"]
    attention: str

    @property
    def digested(self) -> tuple[str, ...]:
        """What of the placement changes sums, for the run's digest.

        Every kind of device has kernels of its own, and so has every attention; which one of several equal GPUs it is
        makes no difference. The processor's own way adds nothing.
        """
        usual = attention_for("padded" if self.attention == "sdpa" else "tree")
        device = () if self.device.type == "cpu" else (self.device.type,)
        return (self.precision, *device, *(() if self.attention == usual else (self.attention,)))

    def announce_move(self, began_on: str, progress: Progress) -> None:
        """Say so when a resumed run goes on elsewhere: another model of GPU may round sums in another way."""
        if describe(self.device) != began_on:
            progress.say(
                f"warning: this run began on {began_on} and goes on on {describe(self.device)}; "
                "unless both are of one model its numbers may differ in their last bits"
            )

    def __str__(self) -> str:
        return f"{self.precision} on {describe(self.device)}"


def placement_of(spec: TrainSpec) -> Placement:
    """The placement that `spec` asks for.

    Raises ModelError for a device that is not there, RecipeError for an attention that does not run on it.
    """
    device = resolve_device(spec.device)
    attention = attention_for(spec.batching, device, spec.attention)
    return Placement(device, resolve_precision(spec.precision, device), attention)


@contextmanager
def reproducible(device: torch.device, progress: Progress) -> Iterator[None]:
    """Inside the block a GPU takes kernels that add in the same order each time, so that a resumed run gives the same
    bytes; a kernel that has no such form is announced once. The processor's kernels need nothing.
    """
    if device.type == "cpu":
        yield
        return
    # Read by cuBLAS when it begins, which is after this.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = False  # nothing reads what it did not write
    with warnings.catch_warnings():
        told = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: object) -> None:
            if _NOT_DETERMINISTIC not in str(message):
                told(message, category, *place)  # type: ignore[arg-type]
                return
            kernel = re.split(" does not have| defaults", str(message))[0]
            progress.say(f"warning: {kernel} adds in no fixed order here: a resumed run may differ in its last bits")

        warnings.filterwarnings("once", f".*{_NOT_DETERMINISTIC}.*")
        warnings.showwarning = show  # type: ignore[assignment]
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            deterministic.fill_uninitialized_memory = fills
