"""The program that runs inside the sandbox: one fresh, confined process for each call of the user's `grade`.

Run by its path with nothing but the standard library in reach: a job as JSON on stdin, one line of JSON per call on
stdout, after a first line that says which confinements the system could give. `tunesmith.grade.sandbox` is its caller.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

__all__: list[str] = []

LONGEST_RESULT = 1 << 16


def _confinement() -> ModuleType:
    place = Path(__file__).with_name("confinement.py")
    spec = importlib.util.spec_from_file_location("confinement", place)
    if spec is None or spec.loader is None:
        raise ImportError(str(place))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _serve(job: dict[str, Any]) -> None:
    """Fork once per call, so that no call sees what another left behind."""
    confinement = _confinement()
    _say(_forked(lambda: _confine(job, confinement), job["timeout_seconds"]))
    for sample, item in job["calls"]:

        def call(sample: Any = sample, item: Any = item) -> dict[str, Any]:
            _confine(job, confinement)
            return _graded(job["source"], sample, item)

        _say(_forked(call, job["timeout_seconds"]))


def _say(result: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def _forked(work: Any, timeout_seconds: float) -> dict[str, Any]:
    """What `work` returns in a process of its own, or why it returned nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silent, descriptor)
        try:
            result = work()
        except MemoryError:
            result = {"error": "memory", "detail": "out of memory"}
        except BaseException:  # noqa: BLE001 - whatever the user's code raises is the result
            result = {"error": "raised", "detail": _last_words()}
        os.write(writing, json.dumps(result).encode()[:LONGEST_RESULT])
        os._exit(0)
    os.close(writing)
    written = _read(reading, time.monotonic() + timeout_seconds)
    os.close(reading)
    if written is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if written is None:
        return {"error": "timeout", "detail": f"no result after {timeout_seconds:g} seconds"}
    if not written:
        cause = f"signal {signal.Signals(status & 127).name}" if status & 127 else f"exit code {status >> 8}"
        return {"error": "died", "detail": f"the process ended by {cause} without a result"}
    try:
        result = json.loads(written)
    except ValueError:
        return {"error": "died", "detail": "the process wrote something that is no result"}
    return result if isinstance(result, dict) else {"error": "died", "detail": "the process wrote no result"}


def _read(descriptor: int, deadline: float) -> bytes | None:
    """Everything until the writer closes; None at the deadline."""
    content = b""
    while len(content) <= LONGEST_RESULT:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        piece = os.read(descriptor, LONGEST_RESULT)
        if not piece:
            return content
        content += piece
    return content


def _confine(job: dict[str, Any], confinement: ModuleType) -> dict[str, Any]:
    """Give up, in this process, everything a grader does not need."""
    seconds = math.ceil(job["timeout_seconds"]) + 1
    files = confinement.confine_files(job["readable"], job["scratch"])
    for limit, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, job["memory_bytes"]),
        (resource.RLIMIT_FSIZE, job["file_bytes"]),
        (resource.RLIMIT_NOFILE, job["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))
    return {"files": files, "calls": confinement.confine_calls()}


def _graded(source: str, sample: Any, item: Any) -> dict[str, Any]:
    module = ModuleType("grader")
    exec(compile(source, "grader.py", "exec"), module.__dict__)  # what this process is for
    score = module.grade(sample, item)
    if not isinstance(score, int | float) or not math.isfinite(score):
        return {"error": "value", "detail": f"grade returned {score!r:.200}, not a finite number"}
    return {"score": float(score)}


def _last_words() -> str:
    """The exception and where in the user's source it came from."""
    kind, error, trace = sys.exc_info()
    lines = [frame.lineno for frame in traceback.extract_tb(trace) if frame.filename == "grader.py"]
    where = f" (line {lines[-1]} of the source)" if lines else ""
    return f"{kind.__name__ if kind else 'error'}: {error}{where}"


if __name__ == "__main__":
    _serve(json.load(sys.stdin))
