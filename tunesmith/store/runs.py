"""Training runs on disk: every folder of home/runs, finished (it holds `run.json`) or not."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tunesmith.errors import ModelError, NotFound, nearest
from tunesmith.types.base import Value
from tunesmith.types.run import RunRecord

__all__ = ["RUN_FILE", "StoredRun", "all_runs", "find_run"]

RUN_FILE = "run.json"


class StoredRun(Value):
    """A run's folder and, when it finished, its record."""

    id: str
    path: Path
    record: RunRecord | None


def all_runs(home: Path) -> tuple[StoredRun, ...]:
    """Every run under `home`, oldest first. Raises ModelError when a record cannot be read."""
    folders = [folder for folder in (home / "runs").glob("*") if folder.is_dir() and not folder.name.startswith(".")]
    ordered = sorted(folders, key=lambda folder: (folder.stat().st_mtime, folder.name))
    return tuple(StoredRun(id=folder.name, path=folder, record=_record(folder)) for folder in ordered)


def find_run(home: Path, beginning: str) -> StoredRun:
    """The run whose id is, or alone begins with, `beginning`. Raises NotFound with the nearest match."""
    runs = all_runs(home)
    exact = [run for run in runs if run.id == beginning]
    found = exact or [run for run in runs if run.id.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    ids = [run.id for run in found or runs]
    close = None if found else nearest(beginning, ids)
    what = "is the beginning of several runs" if found else "is no run"
    listed = ", ".join(ids) or "none yet: tunesmith run RECIPE"
    raise NotFound(f"{beginning!r} {what}.", hint=f"{f'Did you mean {close!r}? ' if close else ''}There are: {listed}")


def _record(folder: Path) -> RunRecord | None:
    file = folder / RUN_FILE
    if not file.is_file():
        return None
    try:
        return RunRecord.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ModelError(
            f"{file} cannot be read ({error.error_count()} faults).",
            hint=f"Remove the folder {folder} and train again.",
        ) from error
