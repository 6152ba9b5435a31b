"""The texts of evaluation sets, from files in any format that `prepare` reads, and from plain text files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.sources import find_sources, parse_sources
from tunesmith.prepare.texts import answers, question
from tunesmith.types.recipe import SourceSpec

__all__ = ["EvalText", "eval_files", "eval_texts"]


class EvalText(NamedTuple):
    """One question of an evaluation set, with its answer, and where it stands (file:line)."""

    where: str
    text: str
    answer: str


def eval_files(paths: tuple[str, ...], folder: Path) -> tuple[Path, ...]:
    """The files, relative to `folder`. Raises DataError for one that is missing or of no kind that is read."""
    for path in paths:
        if path.endswith(".txt") and not (folder / path).is_file():
            raise DataError([Problem("there is no such file", file=path, field="decontaminate.against")])
    rows = tuple(SourceSpec(path=path) for path in paths if not path.endswith(".txt"))
    found = iter(find_sources(rows, folder)) if rows else iter(())
    return tuple((folder / path).resolve() if path.endswith(".txt") else next(found) for path in paths)


def eval_texts(paths: tuple[str, ...], folder: Path) -> Iterator[EvalText]:
    """Every question of every file; of a file ending in .txt every line that is not blank.

    Raises:
        DataError: a file cannot be read.
    """
    for path, file in zip(paths, eval_files(paths, folder), strict=True):
        if path.endswith(".txt"):
            lines = file.read_text(encoding="utf-8").splitlines()
            yield from (EvalText(f"{path}:{line}", text, "") for line, text in enumerate(lines, 1) if text.strip())
            continue
        parsed = parse_sources((SourceSpec(path=path),), (file,))
        for candidate in parsed.candidates:
            content = candidate.example.content
            yield EvalText(candidate.where, question(content), (*answers(content), "")[0])
