"""What a run's directory says of the machine and the packages it was trained with."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """Versions, processor, GPU and free disk, as plain values."""
    packages = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "tunesmith")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", ""),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: _version(name) for name in packages},
        "free_disk_bytes": shutil.disk_usage(Path.home()).free,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:
        return None
