"""What changed since the version before: base, data, recipe, scores."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.page.markdown import escaped, table
from tunesmith.release.evidence import Evidence, flat

__all__ = ["changes"]

_NOTHING = "-"


def changes(evidence: Evidence, previous: Evidence | None) -> Iterator[str]:
    """The change log against `previous`, the version before."""
    yield "## Changes"
    if previous is None:
        yield "This is the first version of its name."
        return
    yield f"Against {escaped(previous.release.reference)} of {previous.release.created[:10]}:"
    rows = [*_parts(evidence, previous), *_recipe(evidence, previous)]
    yield table(("What", "Before", "Now"), rows) if rows else "Base, data and recipe are the same."
    yield from _scores(evidence, previous)


def _parts(evidence: Evidence, previous: Evidence) -> Iterator[tuple[str, str, str]]:
    for name, field in (("base", "base_digest"), ("data", "dataset_digest"), ("chat template", "template_digest")):
        before, now = (str(getattr(each.release, field))[:16] for each in (previous, evidence))
        if before != now:
            yield name, before or _NOTHING, now or _NOTHING
    before, now = (_rows(each) for each in (previous, evidence))
    if before != now:
        yield "training rows", before, now
    if previous.release.outcome != evidence.release.outcome:
        yield "gate", previous.release.outcome, evidence.release.outcome


def _rows(evidence: Evidence) -> str:
    train = evidence.dataset.splits.get("train") if evidence.dataset else None
    return f"{train.rows:,}" if train else _NOTHING


def _recipe(evidence: Evidence, previous: Evidence) -> Iterator[tuple[str, str, str]]:
    if evidence.recipe is None or previous.recipe is None:
        return
    before, now = dict(flat(previous.recipe)), dict(flat(evidence.recipe))
    for field in dict.fromkeys((*before, *now)):
        if before.get(field) != now.get(field):
            yield field, before.get(field, _NOTHING), now.get(field, _NOTHING)


def _scores(evidence: Evidence, previous: Evidence) -> Iterator[str]:
    ours, theirs = evidence.tuned, previous.tuned
    if ours is None or theirs is None:
        return
    shared = [name for name in ours.scores if name in theirs.scores]
    rows = [
        (name, *(_NOTHING if each.value is None else f"{each.value:.4g} (n {each.n})" for each in pair))
        for name in shared
        if (pair := (theirs.scores[name], ours.scores[name]))
    ]
    if rows:
        same = evidence.release.dataset_digest == previous.release.dataset_digest
        yield (
            "Scores, each as it was measured then" + ("" if same else ", on other rows: they cannot be compared") + ":"
        )
        yield table(("Metric", "Before", "Now"), rows)
