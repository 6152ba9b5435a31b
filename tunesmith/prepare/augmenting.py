"""Makes new rows of given ones, and keeps those that pass: each is accounted for by name."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.errors import NotFound, Problem, RecipeError, TunesmithError, nearest
from tunesmith.prepare.augmentation import Ask, AskFailed, Drawing, Unmade, Way, similarity
from tunesmith.prepare.content import answer_key, subject_key
from tunesmith.prepare.families import FAMILY, PARENT, family
from tunesmith.prepare.step import Outcome
from tunesmith.progress import Progress
from tunesmith.types.base import digest_json
from tunesmith.types.conversation import Conversation
from tunesmith.types.preference import Row

__all__ = ["FOLDER", "Augmented", "Checks", "Parent", "augment", "load_way"]

FOLDER = "tunesmith.prepare.augment"

Accept = Callable[[Sequence[Conversation]], Awaitable[Sequence[float | None]]]


class Parent(NamedTuple):
    """A row to make others of, and where it stands (file:line)."""

    row: Conversation
    where: str


class Checks(NamedTuple):
    """What a new row must pass besides its way's band: the recipe's steps on rows, a judge's grade (None: unscored)."""

    steps: Sequence[Callable[[Row], Outcome]] = ()
    accept: Accept | None = None
    at_least: float = 1.0


class Augmented(NamedTuple):
    """The new rows, what became of every row asked for (the counts add up), and the first reason a question failed."""

    rows: list[Conversation]
    ledger: Mapping[str, int]
    complaint: str


class _Made(NamedTuple):
    row: Conversation | None
    reason: str
    complaint: str = ""


def load_way(name: str, options: Mapping[str, Any]) -> Way:
    """The way `name` with its options. Raises NotFound with the nearest match, RecipeError with all problems."""
    kind = plugins.load(FOLDER, name)
    try:
        way = kind.model_validate(dict(options))
    except ValidationError as error:
        problems = []
        for detail in error.errors():
            field = ".".join(map(str, detail["loc"])) or "least"
            close = nearest(field, kind.model_fields)
            fix = f"did you mean {close!r}? " if close and close != field else ""
            known = f"{fix}options: {', '.join(kind.model_fields)}"
            problems.append(Problem(f"{detail['msg']}, found {detail['input']!r}", field=f"{name}.{field}", fix=known))
        raise RecipeError(problems, message=f"The way {name} is not acceptable.") from None
    if not isinstance(way, Way):
        raise TunesmithError(f"{kind.__module__} must export a class derived from {Way.__module__}.Way.")
    return way


async def augment(
    parents: Sequence[Parent], ways: Mapping[str, tuple[Way, int]], ask: Ask | None, checks: Checks, progress: Progress
) -> Augmented:
    """For every parent, way and count one new row is asked for, in that order; `ways` maps a name to (way, count).

    Kept rows carry the metadata family (by which they land in their parent's split), parent and made_by. Others are
    dropped as failed, refused, cut_off, empty, nothing_to_change, too_similar, too_different, duplicate (of any row,
    old or new), by the reason of a step, or below and unscored by the judge. Same input, same ways, same
    rows (and for a model: the same questions).

    Raises NotFound when a way needs a model and `ask` is None.
    """
    needing = [name for name, (way, _) in ways.items() if way.model and ask is None]
    if needing:
        raise NotFound(f"{', '.join(needing)} needs a model to ask.", hint="Name one: --teacher MODEL@URL")
    with progress.task("augmenting", total=len(parents) * sum(count for _, count in ways.values())) as task:

        async def one(parent: Parent, name: str, number: int) -> _Made:
            made = await _made(parent, name, number, ways[name][0], ask or _nobody)
            task.advance()
            return made if made.row is None else _checked(made.row, parent, ways[name][0], checks)

        wanted = [(parent, name, number) for parent in parents for name in ways for number in range(ways[name][1])]
        made = await asyncio.gather(*(one(*each) for each in wanted))
    made = _distinct(made, parents)
    if checks.accept is not None:
        made = await _judged(made, checks)
    complaint = next((each.complaint for each in made if each.complaint), "")
    return Augmented([each.row for each in made if each.row], dict(Counter(each.reason for each in made)), complaint)


async def _nobody(messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    raise AskFailed("there is no model")


async def _made(parent: Parent, name: str, number: int, way: Way, ask: Ask) -> _Made:
    """One new row; its chance is a function of the parent, the way with its options, and the number alone."""
    seed = (
        int(digest_json([family(parent.row), answer_key(parent.row), name, way.content_digest(), number])[:8], 16) >> 1
    )
    try:
        row = await way.make(parent.row, Drawing(random.Random(seed), seed, ask))
    except AskFailed as error:
        return _Made(None, "failed", str(error))
    except Unmade as error:
        return _Made(None, error.reason)
    marks = {FAMILY: family(parent.row), PARENT: parent.where, "made_by": name}
    return _Made(row.model_copy(update={"metadata": {**row.metadata, **marks}}), "kept")


def _checked(row: Conversation, parent: Parent, way: Way, checks: Checks) -> _Made:
    alike = similarity(parent.row, row, way.side)
    if alike > way.most:
        return _Made(None, "too_similar")
    if alike < way.least:
        return _Made(None, "too_different")
    current: Row = row
    for step in checks.steps:
        outcome = step(current)
        if outcome.content is None:
            return _Made(None, outcome.reason)
        current = outcome.content
    return _Made(current, "kept") if isinstance(current, Conversation) else _Made(None, "no_conversation")


def _distinct(made: Sequence[_Made], parents: Sequence[Parent]) -> list[_Made]:
    """Rows that say what a parent or an earlier new row says are duplicates."""
    seen = {subject_key(parent.row) + answer_key(parent.row) for parent in parents}
    distinct = []
    for each in made:
        key = subject_key(each.row) + answer_key(each.row) if each.row else ""
        distinct.append(_Made(None, "duplicate") if key in seen else each)
        seen |= {key} - {""}
    return distinct


async def _judged(made: Sequence[_Made], checks: Checks) -> list[_Made]:
    assert checks.accept is not None
    grades = iter(await checks.accept([each.row for each in made if each.row]))
    judged = []
    for each in made:
        if each.row is None:
            judged.append(each)
            continue
        grade = next(grades)
        reason = "unscored" if grade is None else "kept" if grade >= checks.at_least else "below"
        judged.append(_Made(each.row if reason == "kept" else None, reason))
    return judged
