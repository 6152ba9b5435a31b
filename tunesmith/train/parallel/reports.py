"""The last word of a process that failed, left for the launcher, which tells the cause from its consequences."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tunesmith.errors import Interrupted, PeerLost, TunesmithError
from tunesmith.store.values import read_value, write_value
from tunesmith.train.parallel.place import place_of
from tunesmith.types.base import Value

__all__ = ["Report", "read_reports", "report_of", "reporting", "send"]


class Report(Value):
    """Why the process `rank` ends. `lost`: because another one is gone; `stalled`: because another one is silent."""

    rank: int
    kind: Literal["failed", "stalled", "lost", "interrupted"]
    message: str
    hint: str | None = None
    signal: int | None = None

    def of(self, rank: int) -> Report:
        """The same from another rank."""
        return self.model_copy(update={"rank": rank})


def report_of(rank: int, error: BaseException) -> Report:
    """What `error` means for the whole run."""
    if isinstance(error, Interrupted):
        return Report(rank=rank, kind="interrupted", message=error.note, signal=error.number)
    if isinstance(error, TunesmithError):
        kind: Literal["failed", "lost"] = "lost" if isinstance(error, PeerLost) else "failed"
        return Report(rank=rank, kind=kind, message=error.message, hint=error.hint)
    return Report(rank=rank, kind="failed", message=f"{type(error).__name__}: {error}")


@contextmanager
def reporting(environment: Mapping[str, str]) -> Iterator[None]:
    """As a rank of our launcher, leave it to speak to the user about what ends the block; else change nothing."""
    try:
        yield
    except BaseException as error:
        place = place_of(environment)
        if place is None or place.reports is None:
            raise
        send(report_of(place.rank, error), place.reports)
        sys.exit(error.exit_code if isinstance(error, Interrupted) else 1)


def send(report: Report, folder: str | None) -> None:
    """Leave `report` in the launcher's folder, or say it on stderr when nobody collects reports."""
    if folder is not None:
        write_value(Path(folder) / f"rank-{report.rank}.json", report)
        return
    hint = f"\n{report.hint}" if report.hint else ""
    sys.stderr.write(f"rank {report.rank}: {report.message}{hint}\n")
    sys.stderr.flush()


def read_reports(folder: Path) -> dict[int, Report]:
    """Rank -> its report."""
    found = (read_value(file, Report) for file in sorted(folder.glob("rank-*.json")))
    return {report.rank: report for report in found if report is not None}
