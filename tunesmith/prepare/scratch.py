"""A folder for the rows while they are prepared. What a killed process left is removed by the next one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.errors import TunesmithError

__all__ = ["scratch_folder"]


@contextmanager
def scratch_folder(home: Path) -> Iterator[Path]:
    """A new folder under `home/scratch`, gone afterwards.

    Raises TunesmithError, with the folder and the room left, when something cannot be written in the block.
    """
    place = home / "scratch"
    new = [folder for folder in (place, home) if not folder.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=place))
    except OSError as error:
        raise _unwritable(home, error) from error
    try:
        yield folder
    except OSError as error:
        raise _unwritable(home, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for empty in (each for each in new if each.is_dir() and not any(each.iterdir())):
            empty.rmdir()


def _sweep(place: Path) -> None:
    """Remove the folders of processes that no longer run."""
    for folder in place.iterdir():
        owner = folder.name.partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and Path("/proc").is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def _unwritable(home: Path, error: OSError) -> TunesmithError:
    near = next(folder for folder in (home, *home.parents) if folder.exists())
    room = shutil.disk_usage(near).free / 1e6
    where = error.filename or home
    return TunesmithError(
        f"The dataset cannot be prepared: {where}: {error.strerror or error}. Nothing was stored.",
        hint=f"{room:,.0f} MB are free under {near}; preparing needs about three times the size of the sources. "
        "Make room, or set TUNESMITH_HOME to another disk.",
    )
