"""Runs a user's `grade(sample, item)` outside of our process, confined as far as the system allows.

Every call gets a fresh process with limits on time, processor seconds, memory, file size and open files, an empty
environment, a temporary folder as its only writable place, no network, no other processes, and of the file system
only Python and its packages (seccomp and Landlock; where the system lacks one, `Isolation` says so). Calls of one
batch share an interpreter's start, not its state. Hash seeds are fixed, so the same answer gets the same grade.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Called", "Isolation", "Limits", "SandboxBroken", "isolation", "run"]

START_SECONDS = 20.0
PROGRAM = Path(__file__).with_name("confined.py")


class SandboxBroken(RuntimeError):
    """The sandbox itself could not do its work; nothing is known about the user's code."""


class Limits(NamedTuple):
    """What one call may use."""

    timeout_seconds: float = 10.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 10 << 20
    open_files: int = 64


class Isolation(NamedTuple):
    """What the system could enforce besides limits and a process of its own."""

    files: bool
    """sees only Python's own files and its temporary folder (Landlock)"""
    calls: bool
    """no network, no further processes, no signals to others (seccomp)"""

    def missing(self) -> str | None:
        """What a person must be told, or None when everything is enforced."""
        lacks = [] if self.files else ["can read what this user can read (no Landlock here)"]
        lacks += [] if self.calls else ["can use the network and start processes (no seccomp here)"]
        return f"Python graders run in a limited process, but it {' and '.join(lacks)}." if lacks else None


class Called(NamedTuple):
    """What became of one call: a score, or the kind of failure (`raised`, `value`, `timeout`, `memory`, `died`)."""

    score: float | None
    error: str | None
    detail: str


async def run(source: str, calls: Sequence[tuple[Any, Any]], limits: Limits) -> tuple[list[Called], Isolation]:
    """`grade(sample, item)` of `source` for each (sample, item) of `calls`, both plain JSON values.

    Raises SandboxBroken when the sandbox gives no answer at all, which says nothing about the source.
    """
    with tempfile.TemporaryDirectory(prefix="tunesmith-grader-") as scratch:
        job = {
            **limits._asdict(),
            "source": source,
            "calls": list(calls),
            "readable": _readable(),
            "scratch": scratch,
        }
        patience = START_SECONDS + (limits.timeout_seconds + 1.0) * (len(calls) + 1)
        lines = await _lines(json.dumps(job).encode(), scratch, patience)
    if len(lines) != len(calls) + 1 or "files" not in lines[0]:
        raise SandboxBroken(f"it answered {len(lines)} of {len(calls) + 1} lines: {lines[:1]}")
    results = [Called(line.get("score"), line.get("error"), line.get("detail", "")) for line in lines[1:]]
    return results, Isolation(files=lines[0]["files"], calls=lines[0]["calls"])


async def isolation() -> Isolation:
    """What this system can enforce, tried out. Raises SandboxBroken."""
    return (await run("", [], Limits()))[1]


async def _lines(job: bytes, scratch: str, patience: float) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-s", "-P", "-X", "utf8", str(PROGRAM)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=scratch,
        env={"PYTHONHASHSEED": "0", "HOME": scratch, "TMPDIR": scratch, "LC_ALL": "C.UTF-8", **_one_thread()},
        start_new_session=True,
    )
    try:
        output, complaint = await asyncio.wait_for(process.communicate(job), patience)
    except TimeoutError:
        raise SandboxBroken(f"it did not answer within {patience:g} seconds") from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # everything of its session, also when we are cancelled
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise SandboxBroken(f"it ended with code {process.returncode}: {complaint.decode(errors='replace')[-500:]}")
    return [json.loads(line) for line in output.splitlines()]


def _one_thread() -> dict[str, str]:
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def _readable() -> list[str]:
    """Python, its packages, and the system's shared libraries."""
    python = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()}
    system = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime"}
    devices = {"/dev/null", "/dev/urandom", "/dev/zero"}
    return sorted(python | system | devices | {str(PROGRAM.parent / "confinement.py")})
