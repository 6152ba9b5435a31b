"""Whether a preparation may go on: not too many rows dropped, and no split without rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tunesmith.errors import DataError, Problem
from tunesmith.prepare.ledger import drop_rate, make_ledger, shown
from tunesmith.prepare.record import PLACES
from tunesmith.prepare.result import dropped_lines
from tunesmith.prepare.rows import Rows
from tunesmith.store.refusals import keep_refused
from tunesmith.types.dataset import SPLITS, Ledger, SplitName
from tunesmith.types.preparation import PrepareSpec

__all__ = ["accepted_ledger"]


def accepted_ledger(spec: PrepareSpec, rows: Rows, training: npt.NDArray[np.int64], refused: Path) -> Ledger:
    """The ledger.

    Raises DataError when it shows too many drops or a split without rows; the dropped rows are then in `refused`.
    """
    ledger = make_ledger(rows, training)
    rate = drop_rate(ledger)
    if rate > spec.max_drop_rate:
        message = (
            f"{rate:.1%} of the rows were dropped (duplicates not counted); max_drop_rate is {spec.max_drop_rate:.1%}"
        )
        fix = "repair the rows below, raise prepare.max_tokens, or raise prepare.max_drop_rate"
        raise DataError([Problem(message, field="prepare.max_drop_rate", fix=fix)], hint=_hint(ledger, rows, refused))
    there = set(rows.records["split"][rows.kept].tolist())
    empty = [name for name in _used_splits(spec) if PLACES.index(name) not in there]
    if empty:
        problems = [_empty_split(name, ledger) for name in empty]
        raise DataError(problems, message="A split would be empty.", hint=_hint(ledger, rows, refused))
    return ledger


def _hint(ledger: Ledger, rows: Rows, refused: Path) -> str:
    """The ledger, the first row that cannot be rendered, and the file in which all dropped rows are kept."""
    complaint = _first_complaint(rows)
    first = [f"The first row that cannot be rendered: {complaint}"] if complaint else []
    return "\n".join([shown(ledger), *first, *_kept(rows, refused)])


def _kept(rows: Rows, refused: Path) -> list[str]:
    if rows.kept.all():
        return []
    try:
        keep_refused(refused, dropped_lines(rows))
    except OSError as error:  # the refusal is what has to be told
        return [f"The dropped rows could not be kept in {refused}: {error.strerror or error}"]
    return [f"All dropped rows with their reasons: {refused}"]


def _first_complaint(rows: Rows) -> str:
    refused = (index for index in sorted(rows.details) if rows.reason(index) == "unrenderable")
    return next((f"{rows.where(index)}: {rows.details[index]}" for index in refused), "")


def _used_splits(spec: PrepareSpec) -> tuple[SplitName, ...]:
    """The splits the recipe asks for: training always, others by a source's `split` or by a fraction above 0."""
    asked = {source.split for source in spec.sources}
    fractions = {"validation": spec.split.validation, "test": spec.split.test}
    divided = {name for name, fraction in fractions.items() if fraction > 0 and "auto" in asked}
    return tuple(name for name in SPLITS if name == "train" or name in asked or name in divided)


def _empty_split(name: SplitName, ledger: Ledger) -> Problem:
    reasons = ", ".join(f"{drop.rows} {drop.reason}" for drop in ledger.drops) or "none were dropped"
    message = f"the {name} split has no rows; of {ledger.rows_in} rows in: {reasons}"
    fixes = {
        "train": "add training rows that are not in the other splits",
        "validation": "add rows, or set prepare.split.validation: 0",
        "test": "add rows, or set prepare.split.test: 0",
    }
    return Problem(message, field=f"prepare.split.{name}", fix=fixes[name])
