"""Drops rows whose prompt was already seen, so that no test question is trained and no answer contradicts another.

One row is kept for each prompt. Test rows are kept first, then validation, then rows that are still to be split, then
training rows; within each of them the first row in file order. So a row shared by two splits leaves the training side.

    same prompt, same answer, kept row in test          -> duplicate_of_test
    same prompt, same answer, kept row in validation    -> duplicate_of_validation
    same prompt, same answer, kept row elsewhere,
      or in the dropped row's own split                 -> duplicate
    same prompt, different answer                       -> conflicting_answer

Data with several good answers to one prompt (sampled completions) needs `deduplicate: off`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tunesmith.prepare.candidate import Candidate, Dropped, Sorted
from tunesmith.prepare.steps.content import answer_key, prompt_key

__all__ = ["drop_duplicates"]

_PRIORITY = ("test", "validation", "auto", "train")


def drop_duplicates(candidates: Iterable[Candidate], mode: Literal["off", "exact", "normalised"]) -> Sorted:
    """Keep one row for each prompt; `normalised` compares after case folding, NFKC and white-space collapse."""
    rows = tuple(candidates)
    if mode == "off":
        return Sorted(rows, ())
    exact = mode == "exact"
    first: dict[str, Candidate] = {}
    reasons: dict[int, str] = {}
    for index in sorted(range(len(rows)), key=lambda index: _PRIORITY.index(rows[index].split)):
        kept = first.setdefault(prompt_key(rows[index].example.conversation, exact=exact), rows[index])
        if kept is not rows[index]:
            reasons[index] = _reason(kept, rows[index], exact=exact)
    return Sorted(
        tuple(row for index, row in enumerate(rows) if index not in reasons),
        tuple(Dropped(rows[index], reasons[index]) for index in sorted(reasons)),
    )


def _reason(kept: Candidate, other: Candidate, *, exact: bool) -> str:
    answers = (answer_key(row.example.conversation, exact=exact) for row in (kept, other))
    if len(set(answers)) > 1:
        return "conflicting_answer"
    crosses = kept.split != other.split and kept.split in ("test", "validation")
    return f"duplicate_of_{kept.split}" if crosses else "duplicate"
