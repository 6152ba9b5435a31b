"""Where models compute: the processor or an accelerator, decided once from `auto`, `cpu`, `cuda` or `cuda:1`."""

from __future__ import annotations

import os
from typing import Any

import torch

from tunesmith.errors import ModelError

__all__ = ["CPU", "describe", "device_of", "present_devices", "resolve_device"]

CPU = torch.device("cpu")


def resolve_device(name: str) -> torch.device:
    """The device called `name`, with its number; `auto` is a CUDA GPU where there is one, else the processor.

    Without a number it is the first GPU, or in a process that a launcher such as torchrun started, the one of its
    LOCAL_RANK. Raises ModelError for a device that is not there, naming those that are.
    """
    there = present_devices()
    if name == "auto":
        name = "cuda" if any(device.type == "cuda" for device in there) else "cpu"
    wanted = name if name == "cpu" or ":" in name else f"{name}:{os.environ.get('LOCAL_RANK', '0')}"
    for device in there:
        if str(device) == wanted:
            return device
    listed = ", ".join(describe(device) for device in there)
    hint = f"There is: {listed}. Set device to one of these, or to auto."
    if not torch.backends.cuda.is_built() and name.startswith("cuda"):
        hint += " The torch that is installed was built without CUDA."
    raise ModelError(f"The device {wanted!r} is not there.", hint=hint)


def present_devices() -> tuple[torch.device, ...]:
    """The processor, then every accelerator that torch can use here."""
    kind = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if kind is not None else 0
    return (CPU, *(torch.device(kind.type, index) for index in range(count) if kind is not None))


def describe(device: torch.device) -> str:
    """The device in words: `cpu`, or `cuda:0 (NVIDIA A100-SXM4-80GB)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def device_of(model: Any) -> torch.device:
    """The device of `model`, all of whose parameters lie on one."""
    device: torch.device = next(model.parameters()).device
    return device
