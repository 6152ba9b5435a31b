"""Suites in Markdown. Text from data cannot become markup."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.evaluate.report import tables, wording
from tunesmith.evaluate.report.findings import Findings
from tunesmith.evaluate.report.judges import AGREEMENT_HEADS, agreement_rows
from tunesmith.page.markdown import escaped, table
from tunesmith.types.report import Score

__all__ = ["suites_markdown"]

SHOWN = 12


def suites_markdown(found: Sequence[Findings], created: str) -> str:
    """The whole report."""
    parts = ["# Evaluation", f"Made by Tunesmith, {created}."]
    for each in found:
        parts += [f"## Suite {escaped(each.report.split)}", *_scores(each), *_comparisons(each), *_slices(each)]
        parts += [*_flips(each), *_errors(each), *_reaches(each)]
    return "\n\n".join(parts) + "\n"


def _scores(found: Findings) -> list[str]:
    report = found.report
    heads = ["Model", *(wording.name(name) for name in found.ours.scores), "Tokens per answer", "Median latency"]
    rows = [
        (row.name, *(f"{cell.value} {cell.error} {cell.note}" for cell in row.cells), row.tokens, row.latency)
        for row in tables.contestant_rows(report)
    ]
    note = (
        f"{report.rows} items; ± is the standard error; latency with up to {report.concurrency} requests in flight. "
        f"Rows are judged by {wording.name(found.title).lower()} below."
    )
    return [table(heads, rows), note]


def _comparisons(found: Findings) -> list[str]:
    heads, rows = tables.comparison_cells(found.report)
    parts = ["### Paired comparisons", table(heads, rows)] if rows else []
    wins = [
        (f"{each.model} against {each.baseline}", each.judge, wording.amount(each.value, "share"),
         f"{each.wins} : {each.ties} : {each.losses}", wording.amount(each.agreement, "share"), each.unscored)
        for each in found.report.wins
    ]  # fmt: skip
    judged = ("Win rate", "Judge", "Value", "Won : tied : lost", "Both orders agree", "Unscored")
    parts += [table(judged, wins)] if wins else []
    agreed = agreement_rows(found.report)
    return [*parts, "### Does the judge agree with people?", table(AGREEMENT_HEADS, agreed)] if agreed else parts


def _slices(found: Findings) -> list[str]:
    if not found.slices:
        return []
    names = [each.name for each in found.report.contestants]
    rows = [(each.tag, each.part, each.rows, *(_figure(each.scores[name]) for name in names)) for each in found.slices]
    parts = ["### Slices", table(("Slice", "Part", "Items", *map(escaped, names)), rows)]
    if found.helpful:
        helped = [(f"{each.tag}: {each.part}", each.rows, each.wrong, f"{each.excess:.1f}") for each in found.helpful]
        heads = ("Rows that would help most", "Items", "Wrong", "Errors above its average")
        parts.append(table(heads, helped))
    return parts


def _flips(found: Findings) -> list[str]:
    if found.flips is None or found.other is None:
        return []
    won, lost = found.flips
    title = f"### Changed against {escaped(found.other.name)}: {len(won)} won, {len(lost)} lost"
    rows = [
        (kind, each.example_id, each.question, each.reference, each.before, each.after)
        for kind, changed in (("won", won), ("lost", lost))
        for each in changed[:SHOWN]
    ]
    return [title, table(("", "Item", "Question", "Expected", "Before", "Now"), rows)] if rows else [title]


def _errors(found: Findings) -> list[str]:
    parts = []
    if found.kinds:
        rows = [(each.kind, each.rows, ", ".join(each.examples)) for each in found.kinds]
        parts += [f"### What goes wrong ({escaped(found.ours.name)})", table(("Error", "Items", "Such as"), rows)]
    if found.answers:
        given = [(each.answer, each.rows, each.instead_of) for each in found.answers]
        parts.append(table(("Wrong answer", "Times", "Mostly instead of"), given))
    if found.confused:
        pairs = [(pair.reference, pair.predicted or "(no known label)", pair.rows) for pair in found.confused]
        parts.append(table(("Right label", "Answered as", "Items"), pairs))
    if found.histogram:
        bins = [(f"{each.low:.0%} to {each.high:.0%}", each.rows, f"{each.accuracy:.0%}") for each in found.histogram]
        parts.append(table(("Confidence", "Items", "Right"), bins))
    return parts


def _reaches(found: Findings) -> list[str]:
    heads, rows = found.reach_table
    title = f"### What more items would tell ({escaped(wording.name(found.title).lower())})"
    return [title, table([escaped(head) for head in heads], rows)] if heads else []


def _figure(score: Score) -> str:
    return wording.amount(score.value, score.scale)
