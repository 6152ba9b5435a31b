"""A full disk, said plainly."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from tunesmith.errors import TrainingFailed

__all__ = ["plain_disk_errors"]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def plain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn "no room" errors of writing below `folder` into TrainingFailed; other errors pass.

    Covers a full file system, a used-up quota and a limit on file size.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        code = _code(error)
        if code not in FULL:
            raise
        free = shutil.disk_usage(folder).free / 2**20
        raise TrainingFailed(
            f"The run could not be written to {folder}: {os.strerror(code)} ({free:,.0f} MB are free).",
            hint="Its last checkpoint is kept. Free some space there, then give the same command again: it resumes.",
        ) from error


def _code(error: Exception) -> int:
    """The system's error number; safetensors gives it only inside its message."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found.group(1)) if found else 0
