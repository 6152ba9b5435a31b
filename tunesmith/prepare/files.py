"""The files a source means: one file, a folder, a glob, standard input, an address that fsspec knows."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO

from tunesmith.errors import DataError, MissingDependency, Problem, nearest
from tunesmith.prepare.inputs import Input
from tunesmith.prepare.reader import SUFFIXES, suffix_of
from tunesmith.types.preparation import SourceSpec

__all__ = ["files_of"]

_OTHER_FILES: Mapping[str, str] = {
    ".xlsx": "export the sheet as CSV",
    ".xls": "export the sheet as CSV",
    ".ods": "export the sheet as CSV",
    ".docx": "export it as plain text",
    ".pdf": "convert it to plain text first",
    ".zip": "unpack it first",
    ".tar": "unpack it first",
    ".tgz": "unpack it first",
    ".bz2": "unpack it first, or pack it with gzip or zst",
    ".xz": "unpack it first, or pack it with gzip or zst",
    ".7z": "unpack it first",
}


def files_of(source: SourceSpec, base_dir: Path) -> list[Input]:
    """The files of `source`, sorted by name; local paths are relative to `base_dir`.

    Raises:
        DataError: there is none, one is of a kind that is not read, or a folder contains itself through a link.
        MissingDependency: the address's protocol needs a package that is not installed.
    """
    if source.path == "-":
        return [Input("-", _standard_input(), source)]
    if "://" in source.path:
        return _remote(source)
    path = base_dir / source.path
    if path.is_dir():
        return [Input(_name(source, path, each), each.resolve(), source) for each in _inside(source, path)]
    if not path.exists() and glob.has_magic(source.path):
        return _matches(source, base_dir)
    _check_file(path)
    return [Input(source.path, path.resolve(), source)]


def _name(source: SourceSpec, folder: Path, file: Path) -> str:
    return (Path(source.path) / file.relative_to(folder)).as_posix()


def _inside(source: SourceSpec, folder: Path) -> list[Path]:
    """The data files in `folder` and below it, hidden ones left out."""
    found = sorted(_walk(folder, ()))
    if not found:
        names = sorted(each.name for each in folder.iterdir())[:5]
        holds = f"it holds {', '.join(names)}" if names else "it is empty"
        fix = f"name a folder with such files; {holds}"
        raise DataError([Problem(f"holds no data files ({', '.join(SUFFIXES)})", field="path", fix=fix)])
    return found


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        message = f"the folder loops: {folder} leads back to {here}"
        fix = "remove that link, or name the files by a glob"
        raise DataError([Problem(message, field="path", fix=fix)])
    try:
        entries = sorted(folder.iterdir())
    except PermissionError:
        fix = "give yourself the right: chmod u+rx FOLDER"
        raise DataError([Problem(f"the folder {folder} may not be read", field="path", fix=fix)]) from None
    for entry in entries:
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            yield from _walk(entry, (*above, here))
        elif suffix_of(entry.name) in SUFFIXES:
            yield entry


def _matches(source: SourceSpec, base_dir: Path) -> list[Input]:
    found = sorted(glob.glob(source.path, root_dir=base_dir, recursive=True))
    files = [name for name in found if (base_dir / name).is_file()]
    if not files:
        message = "matches folders only" if found else "matches no file"
        fix = f"try {source.path.rstrip('/')}/*" if found else "check the pattern; ** crosses folders"
        raise DataError([Problem(message, field="path", fix=fix)])
    for name in files:
        _check_file(base_dir / name)
    return [Input(Path(name).as_posix(), (base_dir / name).resolve(), source) for name in files]


def _remote(source: SourceSpec) -> list[Input]:
    import fsspec

    if not glob.has_magic(source.path):
        return [Input(source.path, source.path, source)]
    try:
        listed = sorted(file.full_name for file in fsspec.open_files(source.path, "rb"))
    except ImportError as error:
        raise MissingDependency(f"{source.path} cannot be opened: {error}") from None
    except (OSError, ValueError) as error:
        fix = "check the address and the store's credentials"
        raise DataError([Problem(f"cannot be listed: {error}", field="path", fix=fix)]) from None
    found = [name for name in listed if not name.rpartition("/")[2].startswith((".", "_"))]
    if not found:
        raise DataError([Problem("matches no file", field="path", fix="check the pattern; ** crosses folders")])
    return [Input(name, name, source) for name in found]


def _standard_input() -> Path:
    if sys.stdin is None or sys.stdin.isatty():
        fix = "pipe the rows in: cat rows.jsonl | tunesmith ..."
        raise DataError([Problem("standard input is a keyboard, not data", field="path", fix=fix)])
    return Path(_kept_input().name)


@cache
def _kept_input() -> IO[bytes]:
    """Standard input, which can be read but once, as a file that goes when this process does."""
    kept = tempfile.NamedTemporaryFile(prefix="tunesmith-stdin-")  # noqa: SIM115  # open until the process ends
    shutil.copyfileobj(sys.stdin.buffer, kept)
    kept.flush()
    return kept


def _check_file(path: Path) -> None:
    if path.is_fifo():
        fix = "write path: - and pipe the rows into standard input"
        raise DataError([Problem("is a pipe, which can be read only once", field="path", fix=fix)])
    if not path.is_file():
        raise DataError([Problem(_absent(path), field="path", fix=_nearby(path))])
    suffix = path.suffix.lower()
    if suffix in _OTHER_FILES:
        raise DataError([Problem(f"files ending in {suffix!r} are not read", field="path", fix=_OTHER_FILES[suffix])])


def _absent(path: Path) -> str:
    if path.is_symlink():
        return f"is a link to {os.readlink(path)}, which does not exist"
    return "there is no such file"


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist"
    names = sorted(each.name for each in path.parent.iterdir() if each.is_file())
    close = nearest(path.name, names)
    if close:
        return f"did you mean {close!r}?"
    data = [name for name in names if suffix_of(name) in SUFFIXES][:5]
    return f"{path.parent} holds {', '.join(data) or 'no data files'}"
