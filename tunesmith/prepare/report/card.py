"""The dataset card: what is in the dataset, where it comes from and what was done to it, for people and for hubs."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tunesmith.page.markdown import escaped, table
from tunesmith.page.wording import name
from tunesmith.prepare.report.facts import DataFacts
from tunesmith.prepare.report.overlap import SplitOverlap
from tunesmith.prepare.report.story import story
from tunesmith.prepare.report.tables import label_rows, length_rows

__all__ = ["dataset_card"]

_MOST_LABELS = 40


def dataset_card(facts: DataFacts) -> str:
    """The card as Markdown, opening with the front matter that dataset hubs read."""
    told = story(facts)
    parts = [
        _front_matter(facts),
        f"# Dataset card: {escaped(facts.title)}",
        f"**{told.badge}.** {told.headline} {told.details}",
        "\n".join(f"- {escaped(verdict.text)}" for verdict in told.verdicts),
        *_content(facts),
        *_origin(facts),
        *_treatment(facts),
        *_trust(facts),
        f"Digest: `{facts.manifest.digest}`. Made by Tunesmith, {facts.created}.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: DataFacts) -> str:
    languages = {code for counts in facts.profile.languages.values() for code in counts} - {"und"}
    licences = list(facts.profile.licences)
    fields: dict[str, object] = {
        "pretty_name": facts.title,
        "license": licences if len(licences) > 1 else (licences or ["other"])[0],
        **({"language": sorted(languages)} if languages else {}),
        "tags": ["tunesmith", facts.manifest.shape],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"{split}.jsonl"} for split in facts.manifest.splits],
            }
        ],
    }
    # JSON is YAML, and no text in it can become anything else.
    return "\n".join(
        ["---", *(f"{field}: {json.dumps(value, ensure_ascii=False)}" for field, value in fields.items()), "---"]
    )


def _content(facts: DataFacts) -> Iterable[str]:
    manifest = facts.manifest
    yield "## What is in it"
    rows = [
        (split, f"{found.rows:,}", f"{found.tokens:,}", f"{found.trained_tokens:,}", f"{found.longest:,}")
        for split, found in manifest.splits.items()
    ]
    yield table(("Split", "Rows", "Tokens", "Learned tokens", "Longest row"), rows)
    yield f"Every row is a {manifest.shape}; tokens are counted with the chat template it is trained with."
    if lengths := length_rows(facts.profile.lengths):
        cells = [(row.place, f"{row.median:,}", f"{row.most:,}", f"{row.longest:,}") for row in lengths]
        yield table(("Tokens of a row", "Median", "95% stay within", "Longest"), cells)
    if labels := label_rows(manifest):
        yield f"### Balance of {len(labels)} labels"
        yield table(("Label", *manifest.splits), [(row.label, *row.counts) for row in labels[:_MOST_LABELS]])
        if len(labels) > _MOST_LABELS:
            yield f"and {len(labels) - _MOST_LABELS} more with fewer training rows (manifest.json has all of them)."


def _origin(facts: DataFacts) -> Iterable[str]:
    yield "## Where it comes from"
    rows = [(source.path, source.format, f"{source.rows:,}", source.digest) for source in facts.manifest.sources]
    yield table(("File", "Format", "Rows", "SHA-256"), rows)
    if facts.manifest.parents:
        yield f"Made of the rows of: {', '.join(f'dataset `{parent}`' for parent in facts.manifest.parents)}."
    if facts.profile.licences:
        yield table(("Licence named by rows", "Rows"), facts.profile.licences.items())
    else:
        yield "No row names a licence; the files' own licences apply."
    if facts.manifest.system_prompt:
        yield f"Every row opens with the system prompt: {escaped(facts.manifest.system_prompt)}"


def _treatment(facts: DataFacts) -> Iterable[str]:
    ledger = facts.manifest.ledger
    yield "## What was left out"
    yield (
        f"{ledger.rows_in:,} rows in = {ledger.rows_used:,} used + {ledger.rows_in - ledger.rows_used:,} left out; "
        f"{ledger.tokens_in:,} tokens in = {ledger.tokens_used:,} + {ledger.tokens_in - ledger.tokens_used:,}."
    )
    if ledger.drops:
        rows = [(name(drop.reason), f"{drop.rows:,}", f"{drop.tokens:,}") for drop in ledger.drops]
        yield table(("Because", "Rows", "Tokens"), rows)
        yield "Each of these rows stands in dropped.jsonl with its reason and place."
    if len(ledger.sources) > 1:
        parts = [
            (source, f"{part.rows_in:,}", f"{part.rows_used:,}", f"{part.rows_in - part.rows_used:,}")
            for source, part in ledger.sources.items()
        ]
        yield table(("Source", "Rows in", "Used", "Left out"), parts)


def _trust(facts: DataFacts) -> Iterable[str]:
    yield "## What was checked"
    if facts.overlaps.pairs:
        yield table(
            ("Rows of", "with a prompt in", "Exactly", "Normalised", "Nearly"), map(_shared, facts.overlaps.pairs)
        )
    if facts.profile.findings:
        rows = [
            (name(kind.kind), kind.found, kind.rows - kind.places.get("dropped", 0), kind.places.get("dropped", 0))
            for kind in facts.profile.findings
        ]
        yield table(("Found", "Times", "Used rows", "Rows left out"), rows)
    if (found := facts.profile.agreement) is not None:
        alpha = "not defined" if found.alpha is None else f"{found.alpha:.3f}"
        yield (
            f"{len(found.annotators)} annotators, {found.judged_twice:,} items judged twice or more, Krippendorff's "
            f"alpha {alpha}, {len(found.disputed):,} items disputed (adjudication.jsonl)."
        )
    checks = (
        f"- {'held' if check.passed else 'FAILED'}: {escaped(check.name)}" for check in facts.manifest.proof.checks
    )
    yield "\n".join(checks)


def _shared(pair: SplitOverlap) -> tuple[object, ...]:
    near = "not looked for" if pair.near is None else pair.near
    return (pair.held, pair.other, pair.exact, pair.normalised, near)
