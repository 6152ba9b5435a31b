"""Drops rows whose prompt was already seen, so that no test question is trained and no answer contradicts another.

One row is kept for each prompt. Test rows are kept first, then validation, then rows that are still to be split, then
training rows; within each of them the first row in file order. So a row shared by two splits leaves the training side.

    same prompt, same answer, kept row in test          -> duplicate_of_test
    same prompt, same answer, kept row in validation    -> duplicate_of_validation
    same prompt, same answer, kept row elsewhere,
      or in the dropped row's own split                 -> duplicate
    same prompt, different answer                       -> conflicting_answer

Data with several good answers to one prompt (sampled completions) needs `deduplicate: off`.

Preferences and judged answers may share a prompt. Of those only rows about the very same answers are duplicates or
contradict each other (by the table above); a prompt that a test or validation row has is still left out of training.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tunesmith.prepare.candidate import Candidate, Dropped, Sorted
from tunesmith.prepare.content import answer_key, prompt_key, subject_key

__all__ = ["drop_duplicates"]

_PRIORITY = ("test", "validation", "auto", "train")


def drop_duplicates(candidates: Iterable[Candidate], mode: Literal["off", "exact", "normalised"]) -> Sorted:
    """Keep one row for each subject; `normalised` compares after case folding, NFKC and white-space collapse."""
    rows = tuple(candidates)
    if mode == "off":
        return Sorted(rows, ())
    exact = mode == "exact"
    first: dict[str, Candidate] = {}
    homes: dict[str, Candidate] = {}
    reasons: dict[int, str] = {}
    for index in sorted(range(len(rows)), key=lambda index: _PRIORITY.index(rows[index].split)):
        row, content = rows[index], rows[index].example.content
        kept = first.setdefault(subject_key(content, exact=exact), row)
        home = homes.setdefault(prompt_key(content, exact=exact), row)
        if kept is not row:
            reasons[index] = _reason(kept, row, exact=exact)
        elif home.split != row.split:
            reasons[index] = _duplicate(home, row)
    return Sorted(
        tuple(row for index, row in enumerate(rows) if index not in reasons),
        tuple(Dropped(rows[index], reasons[index]) for index in sorted(reasons)),
    )


def _reason(kept: Candidate, other: Candidate, *, exact: bool) -> str:
    answers = (answer_key(row.example.content, exact=exact) for row in (kept, other))
    return "conflicting_answer" if len(set(answers)) > 1 else _duplicate(kept, other)


def _duplicate(kept: Candidate, other: Candidate) -> str:
    crosses = kept.split != other.split and kept.split in ("test", "validation")
    return f"duplicate_of_{kept.split}" if crosses else "duplicate"
