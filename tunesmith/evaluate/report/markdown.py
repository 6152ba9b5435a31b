"""report.md: the same findings for a pull request or a terminal. Text from data cannot become markup."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.evaluate.report import tables, wording
from tunesmith.evaluate.report.facts import ReportFacts
from tunesmith.evaluate.report.glossary import glossary
from tunesmith.evaluate.report.samples import confused_pairs, flips
from tunesmith.evaluate.report.story import model_name, rival, story, subject
from tunesmith.evaluate.report.suites import suite_rows
from tunesmith.page.markdown import escaped, table
from tunesmith.types.dataset import Check
from tunesmith.types.decision import Decision, Outcome, Verdict

__all__ = ["markdown_page"]


def markdown_page(facts: ReportFacts) -> str:
    """The whole page."""
    parts = [
        *_verdict(facts),
        *_scores(facts),
        *_comparisons(facts),
        *_suites(facts),
        *_labels(facts),
        *_changes(facts),
        *_data(facts),
        *_run(facts),
        "## Words used here",
        "\n".join(f"- **{escaped(term)}**: {escaped(meaning)}" for term, meaning in glossary(facts.evaluation)),
    ]
    return "\n\n".join(parts) + "\n"


def _sign(outcome: Outcome) -> str:
    return {"pass": "✅", "fail": "❌", "inconclusive": "❔"}[outcome]


def _verdict(facts: ReportFacts) -> list[str]:
    found = story(facts)
    parts = [f"# {escaped(facts.title)}", f"**{escaped(found.badge)}** ({escaped(facts.created)})"]
    parts.extend(escaped(line) for line in (found.headline, *found.details))
    if facts.decision and facts.decision.verdicts:
        parts.append("\n".join(_judged(facts.decision, each) for each in facts.decision.verdicts))
    return parts


def _judged(decision: Decision, verdict: Verdict) -> str:
    waiver = decision.waiver_of(verdict)
    waived = f" {escaped(waiver.text)}" if waiver else ""
    return f"- {_sign(verdict.outcome)} **{verdict.outcome}**: {escaped(verdict.reason)}{waived}"


def _scores(facts: ReportFacts) -> list[str]:
    evaluation = facts.evaluation
    heads = [
        "Contestant",
        *(wording.name(name) for name in subject(evaluation).scores),
        "Tokens per answer",
        "Median latency",
    ]
    rows = [
        (row.name, *(f"{cell.value} {cell.error} {cell.note}" for cell in row.cells), row.tokens, row.latency)
        for row in tables.contestant_rows(evaluation)
    ]
    note = (
        f"{evaluation.rows} rows of the {evaluation.split} split; ± is the standard error; latency with "
        f"{evaluation.concurrency} requests in flight, as a request to a server under that load sees it."
    )
    return ["## Scores", table(heads, rows), note]


def _comparisons(facts: ReportFacts) -> list[str]:
    heads, rows = tables.comparison_cells(facts.evaluation)
    return ["## Paired comparisons", table(heads, rows)] if rows else []


def _suites(facts: ReportFacts) -> list[str]:
    rows = suite_rows(facts.evaluation)
    if not rows:
        return []
    heads = ("Suite", "Metric", "Before", "Now", "Difference", "Interval", "Reading")
    cells = [
        (f"{row.suite} ({row.items} items)", row.metric, row.theirs, f"{row.ours} {row.error}", row.difference,
         row.interval, row.reading)
        for row in rows
    ]  # fmt: skip
    return ["## What else changed", table(heads, cells)]


def _labels(facts: ReportFacts) -> list[str]:
    ours = subject(facts.evaluation)
    if not ours.classes:
        return []
    rows = [(row.label, row.support, row.precision, row.recall, row.f1) for row in tables.class_rows(ours)]
    parts = ["## Label by label (weakest first)", table(("Label", "Rows", "Precision", "Recall", "F1"), rows)]
    pairs = confused_pairs(facts.evaluation, ours)
    if pairs:
        heads = ("Right label", "Answered as", "Rows", "Example")
        cells = [
            (pair.reference, pair.predicted or "(no known label)", pair.rows, "; ".join(pair.texts[:1]))
            for pair in pairs
        ]
        parts.extend(["## Most confused pairs", table(heads, cells)])
    return parts


def _changes(facts: ReportFacts) -> list[str]:
    other = rival(facts.evaluation)
    if other is None:
        return []
    found = flips(facts.evaluation, subject(facts.evaluation), other)
    parts = [f"## What changed against the {escaped(model_name(other))}: {len(found.won)} won, {len(found.lost)} lost"]
    if found.lost:
        rows = [(flip.text, flip.reference, flip.before, flip.after) for flip in found.lost[:6]]
        parts.append(table(("Lost row", "Right", "Before", "Now"), rows))
    return parts


def _data(facts: ReportFacts) -> list[str]:
    ledger = facts.dataset.ledger
    rows_dropped, tokens_dropped = ledger.rows_in - ledger.rows_used, ledger.tokens_in - ledger.tokens_used
    balance = (
        f"{ledger.rows_in:,} rows in = {ledger.rows_used:,} used + {rows_dropped:,} dropped; "
        f"{ledger.tokens_in:,} tokens in = {ledger.tokens_used:,} used + {tokens_dropped:,} dropped."
    )
    parts = ["## Data", balance]
    if ledger.drops:
        rows = [(drop.reason, drop.rows, drop.tokens, ", ".join(drop.where)) for drop in ledger.drops]
        parts.append(table(("Dropped because", "Rows", "Tokens", "First places"), rows))
    return [*parts, "## Proofs and self-checks", _checks((*facts.dataset.proof.checks, *facts.run.checks))]


def _checks(checks: Sequence[Check]) -> str:
    lines = []
    for check in checks:
        sign = _sign("pass" if check.passed else "fail")
        lines.append(f"- {sign} {escaped(check.name)} ({check.checked:,} checked) {escaped(check.detail)}")
    return "\n".join(lines)


def _run(facts: ReportFacts) -> list[str]:
    listed = {
        "## The run": (*tables.run_facts(facts), *tables.identity_facts(facts)),
        "## Environment": tuple(facts.environment.items()),
        "## Where everything lies": tuple(facts.places.items()),
        "## What to type next": tuple(facts.next_steps.items()),
    }
    return [
        part
        for title, items in listed.items()
        if items
        for part in (title, "\n".join(f"- {escaped(key)}: {escaped(value)}" for key, value in items))
    ]
