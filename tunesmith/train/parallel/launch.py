"""Starting the processes of a run on this machine, and ending all of them when one fails.

The launcher trains nothing and loads nothing heavy. It starts the same command once per rank with the environment that
torchrun would give, passes signals on, and tells the cause of a failure from its consequences: a rank that was killed
comes before one that failed, and that before those that only noticed that another one was gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from tunesmith.errors import Interrupted, TrainingFailed
from tunesmith.ports import free_port
from tunesmith.threads import usable_cores
from tunesmith.train.parallel.place import REPORTS
from tunesmith.train.parallel.reports import Report, read_reports

__all__ = ["Ended", "cause", "environment_of", "failure", "launch"]

POLL_SECONDS = 0.05
GRACE_SECONDS = 4.0
"""what the others get to end by themselves after one failed"""
STOP_SECONDS = 60.0
"""what all get to save and end after a signal"""
TAIL_LINES = 15
HINT = "The last checkpoint is kept; the same command resumes, also with another number of processes."


class Ended(NamedTuple):
    """How a rank's process ended: its exit code, negative for the signal that killed it."""

    rank: int
    process: int
    code: int


def launch(command: Sequence[str], processes: int) -> None:
    """Run `command` as `processes` ranks until all have ended well. Rank 0 has our stdout and stderr.

    Raises:
        TrainingFailed: a rank failed or was killed; names it. No process is left.
        Interrupted: SIGTERM or SIGINT; passed on to all ranks, which saved a checkpoint.
    """
    with tempfile.TemporaryDirectory(prefix="tunesmith-ranks-") as scratch, _signals() as asked:
        folder = Path(scratch)
        base = environment_of(os.environ, processes, free_port(""), folder)
        ranks = [_start(command, {**base, "RANK": str(n), "LOCAL_RANK": str(n)}, folder) for n in range(processes)]
        try:
            failed = _wait(ranks, asked)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
        _raise(failed, read_reports(folder), folder, asked)


def environment_of(environment: Mapping[str, str], processes: int, port: int, reports: Path) -> dict[str, str]:
    """What all ranks are given: where they meet, and an equal part of the processor's threads each."""
    threads = int(environment.get("TUNESMITH_THREADS") or environment.get("OMP_NUM_THREADS") or usable_cores())
    each = str(max(1, threads // processes))
    shared = {
        **environment,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": each,
        REPORTS: str(reports),
    }
    shared.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    if "TUNESMITH_THREADS" in environment:
        shared["TUNESMITH_THREADS"] = each
    return shared


def cause(ended: Sequence[Ended], reports: Mapping[int, Report]) -> tuple[Ended, Report | None]:
    """The failure that brought the others down, of all ranks that `ended` by themselves."""

    def weight(end: Ended) -> int:
        report = reports.get(end.rank)
        if end.code < 0:
            return 0
        order = {"failed": 1, "interrupted": 2, "stalled": 3, "lost": 4}
        return order[report.kind] if report else 1

    first = min(ended, key=weight)
    return first, reports.get(first.rank) if first.code >= 0 else None


def _start(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Rank 0 speaks to the user; what the others say is kept for when they fail."""
    if environment["RANK"] == "0":
        return subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL)
    with _log(folder, int(environment["RANK"])).open("wb") as log:
        return subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _wait(ranks: Sequence[subprocess.Popen[bytes]], asked: list[int]) -> list[Ended]:
    """Those that ended badly, when all have ended or their time is up; none when all ended well."""
    passed_on, deadline = False, float("inf")
    while time.monotonic() < deadline:
        codes = [process.poll() for process in ranks]
        if asked and not passed_on:
            passed_on, deadline = True, time.monotonic() + STOP_SECONDS
            for process in ranks:
                process.send_signal(asked[0])
        if any(codes) and not passed_on:
            deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
        if all(code is not None for code in codes):
            break
        time.sleep(POLL_SECONDS)
    ended = [Ended(rank, process.pid, process.poll() or 0) for rank, process in enumerate(ranks)]
    return [end for end in ended if end.code]


def _raise(failed: Sequence[Ended], reports: Mapping[int, Report], folder: Path, asked: Sequence[int]) -> None:
    if asked:
        word = reports.get(0)
        raise Interrupted(asked[0], word.message if word and word.kind == "interrupted" else "")
    if not failed:
        return
    raise failure(failed, reports, {end.rank: _tail(_log(folder, end.rank)) for end in failed})


def failure(ended: Sequence[Ended], reports: Mapping[int, Report], tails: Mapping[int, str]) -> TrainingFailed:
    """The error that names the rank at fault; `tails` are the last lines that ranks said to nobody."""
    end, report = cause(ended, reports)
    if report is None or report.kind == "interrupted":
        said = "".join(f"\n  rank {end.rank}: {line}" for line in tails.get(end.rank, "").splitlines())
        return TrainingFailed(f"{_how(end)}; the others were stopped.{said}", hint=HINT)
    alike = len(ended) > 1 and all(end.rank in reports and reports[end.rank] == report.of(end.rank) for end in ended)
    message = report.message if report.kind != "failed" or alike else f"Rank {end.rank}: {report.message}"
    return TrainingFailed(message, hint=report.hint or HINT)


def _how(end: Ended) -> str:
    who = f"Rank {end.rank} (process {end.process})"
    if end.code < 0:
        return f"{who} was killed by {signal.Signals(-end.code).name}"
    return f"{who} ended with exit code {end.code}"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:]) if log.is_file() else ""


def _log(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank}.log"


@contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGTERM and SIGINT that arrive inside the block, in order."""
    asked: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    before = [(number, signal.signal(number, receive)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield asked
    finally:
        for number, handler in before:
            signal.signal(number, handler)
