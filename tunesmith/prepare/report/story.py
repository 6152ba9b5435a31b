"""What the figures say, in plain language: the verdict at the top, one line for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from tunesmith.prepare.report.facts import DataFacts
from tunesmith.prepare.report.profile import DROPPED, FindingKind

__all__ = ["Story", "Verdict", "story"]

Tone = Literal["pass", "inconclusive", "fail"]

# Krippendorff's own customary borders (Content Analysis, 2004, p. 241): rely on 0.8, tentative conclusions from 0.667.
_RELIABLE, _TENTATIVE = 0.8, 0.667
_FEW_ROWS = 10


class Verdict(NamedTuple):
    """One thing that was looked at; `fix` says what to write in the recipe, or nothing."""

    tone: Tone
    badge: str
    text: str
    fix: str = ""


class Story(NamedTuple):
    """The whole verdict."""

    tone: Tone
    badge: str
    headline: str
    details: str
    verdicts: tuple[Verdict, ...]


def story(facts: DataFacts) -> Story:
    """The verdict on the dataset; the worst of its parts gives the tone."""
    verdicts = tuple(_verdicts(facts))
    tones = {verdict.tone for verdict in verdicts}
    tone: Tone = "fail" if "fail" in tones else "inconclusive" if "inconclusive" in tones else "pass"
    badges = {
        "pass": "Ready to train",
        "inconclusive": "Worth a look before training",
        "fail": "Do not train on this yet",
    }
    ledger = facts.manifest.ledger
    out = ledger.rows_in - ledger.rows_used
    were = "1 row was left out, for a named reason" if out == 1 else f"{out:,} were left out, each for a named reason"
    headline = (
        f"All {ledger.rows_in:,} rows are used."
        if not out
        else f"{ledger.rows_used:,} of {ledger.rows_in:,} rows are used; {were}."
    )
    splits = ", ".join(f"{split.rows:,} for {_purpose(name)}" for name, split in facts.manifest.splits.items())
    return Story(tone, badges[tone], headline, f"{splits}.", verdicts)


def _purpose(split: str) -> str:
    return {"train": "training", "validation": "validation", "test": "the test"}[split]


def _verdicts(facts: DataFacts) -> Iterable[Verdict]:
    yield _proof(facts)
    if facts.overlaps.pairs:
        yield _shared(facts)
    if facts.manifest.labels:
        yield _balance(facts)
    if facts.profile.agreement is not None and facts.profile.agreement.alpha is not None:
        yield _agreement(facts.profile.agreement.alpha, len(facts.profile.agreement.disputed))
    # What a step has put right is no reason to look again.
    kept = [kind for kind in facts.profile.findings if _used(kind) and not kind.kind.startswith("cleaned")]
    if kept:
        rows = ", ".join(f"{kind.kind.replace('_', ' ')} in {_rows(_used(kind))}" for kind in kept)
        yield Verdict("inconclusive", "look", f"The steps found in used rows: {rows}.")


def _used(kind: FindingKind) -> int:
    """The rows with such findings that are used."""
    return kind.rows - kind.places.get(DROPPED, 0)


def _proof(facts: DataFacts) -> Verdict:
    checks = facts.manifest.proof.checks
    failed = [check.name for check in checks if not check.passed]
    if failed:
        return Verdict("fail", "fail", f"What is trained is not what is served: {', '.join(failed)}.")
    text = f"What is trained is what is served: {len(checks)} checks of the rendering held."
    return Verdict("pass", "pass", text)


def _shared(facts: DataFacts) -> Verdict:
    same = [
        f"{pair.normalised:,} of {_rows(pair.rows)} of {pair.held} in {pair.other}"
        for pair in facts.overlaps.pairs
        if pair.normalised
    ]
    near = [
        f"{pair.near:,} of {_rows(pair.rows)} of {pair.held} nearly in {pair.other}"
        for pair in facts.overlaps.pairs
        if pair.near
    ]
    if same:
        fix = "prepare.deduplicate: normalised"
        return Verdict("fail", "fail", f"Splits share prompts, so scores would be too good: {'; '.join(same)}.", fix)
    if near:
        text = f"No prompt stands in two splits, but some nearly do: {'; '.join(near)}."
        return Verdict("inconclusive", "look", text, "prepare.steps: [{name: near_duplicates}]")
    also = ", nor nearly" if facts.overlaps.pairs[0].near is not None else ""
    return Verdict("pass", "pass", f"No prompt stands in two splits, neither exactly nor after normalising{also}.")


def _balance(facts: DataFacts) -> Verdict:
    counts = facts.manifest.splits["train"].labels
    few = sorted(label for label in facts.manifest.labels if counts.get(label, 0) < _FEW_ROWS)
    if few:
        names = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
        share = f"{len(few)} of {len(facts.manifest.labels)} labels have"
        return Verdict("inconclusive", "look", f"{share} fewer than {_FEW_ROWS} training rows: {names}.")
    ratio = max(counts.values()) / min(counts.values())
    least = f"Every label has {min(counts.values()):,} training rows or more"
    return Verdict("pass", "pass", f"{least}; the largest has {ratio:.1f} times as many as the smallest.")


def _agreement(alpha: float, disputed: int) -> Verdict:
    text = f"Annotators agree with Krippendorff's alpha {alpha:.3f}; {disputed:,} items are disputed."
    if alpha >= _RELIABLE:
        return Verdict("pass", "pass", text)
    if alpha >= _TENTATIVE:
        return Verdict(
            "inconclusive", "look", f"{text} That is enough for tentative conclusions only (0.8 is customary)."
        )
    return Verdict("fail", "fail", f"{text} Below 0.667 labels are not reliable: decide the disputed items first.")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
