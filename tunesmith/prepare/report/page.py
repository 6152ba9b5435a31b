"""report.html of a dataset: one page that needs nothing but itself."""

from __future__ import annotations

from typing import Any

from tunesmith.page.html import page
from tunesmith.page.wording import name, shorten
from tunesmith.prepare.report.charts import Column, column_chart, length_chart
from tunesmith.prepare.report.facts import DataFacts
from tunesmith.prepare.report.overlap import Overlaps
from tunesmith.prepare.report.profile import Profile
from tunesmith.prepare.report.story import story
from tunesmith.prepare.report.tables import LabelRow, dropped_examples, label_rows, length_rows, tiles

__all__ = ["html_page"]

SECTIONS = (
    ("ledger", "Ledger"),
    ("overlap", "Overlap"),
    ("lengths", "Lengths"),
    ("labels", "Labels"),
    ("languages", "Languages"),
    ("clusters", "Near duplicates"),
    ("findings", "Findings"),
    ("dropped", "Left out"),
    ("tokens", "Tokens"),
    ("agreement", "Agreement"),
    ("sources", "Sources"),
    ("terms", "Words"),
)
TERMS = (
    ("Ledger", "rows in = rows used + rows left out, each for a named reason; it cannot be written unbalanced"),
    ("Token", "a piece of a word; the unit in which models read and write"),
    ("Learned token", "a token whose prediction is trained: the answers, not the questions"),
    ("Split", "training rows are learned, validation rows watch the training, test rows measure the result"),
    ("Undivided", "rows left out before they had a split"),
    ("Normalised", "compared after case folding, Unicode NFKC and with white space collapsed"),
    ("Near duplicate", "two texts that share most of their short runs of characters"),
    ("Cohen's kappa", "how far two annotators agree beyond chance; 1 is full agreement, 0 what chance gives"),
    ("Krippendorff's alpha", "the same for any number of annotators, also where not everybody judged everything"),
    ("Digest", "a fingerprint of content: two things with one digest are the same"),
)


def html_page(facts: DataFacts) -> str:
    """The whole page."""
    return page("tunesmith.prepare.report", "data.html.j2", _content(facts))


def _content(facts: DataFacts) -> dict[str, Any]:
    manifest, ledger, found = facts.manifest, facts.manifest.ledger, facts.profile
    labels = label_rows(manifest)
    drops = {drop.reason: drop.rows for drop in ledger.drops}
    clustered = {size: count for size, count in facts.overlaps.sizes.items() if size > 1}
    longest = max(split.longest for split in manifest.splits.values())
    content: dict[str, Any] = {
        "facts": facts,
        "manifest": manifest,
        "ledger": ledger,
        "profile": found,
        "overlaps": facts.overlaps,
        "agreement": found.agreement,
        "story": story(facts),
        "tiles": tiles(facts),
        "used_share": round(100 * ledger.rows_used / max(1, ledger.rows_in), 2),
        "near_rule": "where four fifths of the short runs of characters in two prompts are the same",
        "length_chart": length_chart(found.lengths, facts.limit),
        "length_rows": length_rows(found.lengths),
        "length_share": f"{longest / facts.limit:.0%}",
        "label_rows": labels,
        "label_chart": _label_chart(labels),
        "languages": _languages(found),
        "cluster_chart": _cluster_chart(facts.overlaps),
        "cluster_count": sum(clustered.values()),
        "cluster_rows": sum(size * count for size, count in clustered.items()),
        "most_found": max((kind.rows for kind in found.findings), default=1),
        "dropped": [
            (reason, drops.get(reason, len(rows)), dropped_examples(rows))
            for reason, rows in sorted(found.dropped.items(), key=lambda item: (-drops.get(item[0], 0), item[0]))
        ],
        "unlicensed": ledger.rows_used - sum(found.licences.values()),
        "terms": TERMS,
        "reason": name,
        "shorten": shorten,
    }
    shown = {
        "lengths": content["length_chart"],
        "labels": labels,
        "languages": content["languages"],
        "clusters": facts.overlaps.clusters,
        "findings": found.findings,
        "dropped": content["dropped"],
        "tokens": facts.masked,
        "agreement": found.agreement,
    }
    return {**content, "sections": [(anchor, label) for anchor, label in SECTIONS if shown.get(anchor, True)]}


def _label_chart(rows: tuple[LabelRow, ...]) -> str:
    columns = [
        Column(shorten(row.label, 14), row.counts[0], f"{row.label}: {row.counts[0]:,} training rows") for row in rows
    ]
    return column_chart(columns, "Training rows of each label", "labels, by training rows")


def _cluster_chart(overlaps: Overlaps) -> str:
    columns = [
        Column(f"{size:,}", count, f"{count:,} groups of {size:,} rows")
        for size, count in sorted(overlaps.sizes.items())
    ]
    return column_chart(columns[:60], "Groups of near duplicates by their size", "rows in a group")


def _languages(found: Profile) -> tuple[LabelRow, ...]:
    """Each language with its rows by place, the most frequent first."""
    counts = {
        code: tuple(each.get(code, 0) for each in found.languages.values())
        for code in dict.fromkeys(code for each in found.languages.values() for code in each)
    }
    most = max(map(sum, counts.values()), default=1)
    rows = (LabelRow(code, each, round(100 * sum(each) / most, 1)) for code, each in counts.items())
    return tuple(sorted(rows, key=lambda row: (-row.width, row.label)))
