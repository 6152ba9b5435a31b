"""Carries the rows through the recipe's steps, in the recipe's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tunesmith import plugins
from tunesmith.errors import Problem, RecipeError
from tunesmith.prepare.candidate import Candidate, Dropped
from tunesmith.prepare.step import ReadsFiles, RowStep, TableStep
from tunesmith.types.preference import Row
from tunesmith.types.recipe import PluginSpec

__all__ = ["FOLDER", "Stepped", "load_steps", "step_files", "through_steps"]

FOLDER = "tunesmith.prepare.steps"


class Stepped(NamedTuple):
    """The rows that came through, and those dropped."""

    kept: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]


def load_steps(specs: Sequence[PluginSpec]) -> tuple[RowStep | TableStep, ...]:
    """The steps that the recipe names, with their options.

    Raises NotFound for an unknown name and RecipeError for a plugin that is no step.
    """
    steps: list[RowStep | TableStep] = []
    for index, spec in enumerate(specs):
        field = f"prepare.steps.{index}"
        kind = plugins.load(FOLDER, spec.name)
        try:
            step = kind.model_validate(spec.options)
        except ValidationError as error:
            raise RecipeError([_option_problem(detail, field) for detail in error.errors()]) from None
        if not isinstance(step, RowStep):
            fix = "write its class as tunesmith.prepare.step describes"
            raise RecipeError([Problem(f"{spec.name!r} is no step: it has no method open", field=field, fix=fix)])
        steps.append(step)
    return tuple(steps)


def step_files(steps: Sequence[RowStep | TableStep], folder: Path) -> tuple[Path, ...]:
    """The files that the steps' options name: what is in them decides on rows too."""
    return tuple(path for step in steps if isinstance(step, ReadsFiles) for path in step.files(folder))


def _option_problem(detail: ErrorDetails, field: str) -> Problem:
    place = ".".join(map(str, (field, *detail["loc"])))
    return Problem(
        f"{detail['msg']}, found {detail['input']!r}", field=place, fix="tunesmith plugins steps lists the options"
    )


def through_steps(rows: Sequence[Candidate], steps: Sequence[RowStep | TableStep], folder: Path) -> Stepped:
    """Every row, through every step; a row that one step drops is not shown to the next."""
    kept, dropped = list(rows), list[Dropped]()
    for step in steps:
        if not kept:
            break
        decided = _judged(kept, step, folder) if isinstance(step, TableStep) else _each(kept, step, folder)
        kept = [row for row, reason in decided if not reason]
        dropped += [Dropped(row, reason) for row, reason in decided if reason]
    return Stepped(tuple(kept), tuple(dropped))


def _each(rows: Sequence[Candidate], step: RowStep, folder: Path) -> list[tuple[Candidate, str]]:
    decide = step.open(folder)
    decided = []
    for row in rows:
        content, reason, findings = decide(row.example.content)
        seen = row.changed(content) if content is not None else row
        decided.append((replace(seen, findings=(*seen.findings, *findings)), reason if content is None else ""))
    return decided


def _judged(rows: Sequence[Candidate], step: TableStep, folder: Path) -> list[tuple[Candidate, str]]:
    measure = step.open(folder)
    table = np.array([np.frombuffer(measure(row.example.content), dtype=np.uint8) for row in rows])
    judgement = step.judge(table, _Seen(rows))
    groups = judgement.groups if judgement.groups is not None else [row.group for row in rows]
    return [
        (
            replace(row, findings=(*row.findings, *judgement.findings.get(index, ())), group=int(groups[index])),
            judgement.reasons.get(index, ""),
        )
        for index, row in enumerate(rows)
    ]


class _Seen:
    """The rows as a table step sees them."""

    def __init__(self, rows: Sequence[Candidate]) -> None:
        self._rows = rows
        self._splits = [row.split for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def splits(self) -> Sequence[str]:
        """The split each row's source asks for."""
        return self._splits

    def where(self, index: int) -> str:
        """file:line of row `index`."""
        return self._rows[index].where

    def content(self, index: int) -> Row:
        """What row `index` says."""
        return self._rows[index].example.content
