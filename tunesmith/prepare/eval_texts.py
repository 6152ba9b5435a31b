"""The texts of evaluation sets, from files in any format that `prepare` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tunesmith.prepare.inputs import Input
from tunesmith.prepare.sources import find_sources, open_sources, parse_sources
from tunesmith.prepare.texts import answers, question, spoken
from tunesmith.types.preparation import SourceSpec

__all__ = ["EvalText", "eval_files", "eval_texts"]


class EvalText(NamedTuple):
    """A question of an evaluation set, its answer ('' when it has none apart), and where it stands (file:line)."""

    where: str
    text: str
    answer: str


def eval_files(paths: tuple[str, ...], folder: Path) -> tuple[Input, ...]:
    """The files at `paths`, relative to `folder`. Raises DataError for one that is missing or not readable."""
    return find_sources(tuple(SourceSpec(path=path) for path in paths), folder)


def eval_texts(paths: tuple[str, ...], folder: Path) -> Iterator[EvalText]:
    """Every question of every file; the whole text of rows that have no answer apart.

    Raises:
        DataError: a file cannot be read.
    """
    for file in eval_files(paths, folder):
        for example in parse_sources(open_sources([file])):
            content = example.content
            yield EvalText(
                f"{example.source}:{example.line}", question(content) or spoken(content), (*answers(content), "")[0]
            )
