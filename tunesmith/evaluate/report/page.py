"""report.html: one page that needs nothing but itself. All text is escaped by the template engine."""

from __future__ import annotations

from typing import Any

from tunesmith.evaluate.report import tables, wording
from tunesmith.evaluate.report.charts import loss_chart, score_chart
from tunesmith.evaluate.report.facts import ReportFacts
from tunesmith.evaluate.report.glossary import glossary
from tunesmith.evaluate.report.heatmap import heatmap
from tunesmith.evaluate.report.samples import confused_pairs, flips
from tunesmith.evaluate.report.story import learning, model_name, rival, story, subject
from tunesmith.evaluate.report.suites import suite_rows
from tunesmith.page.html import page

__all__ = ["html_page"]

SHOWN_FLIPS = 6
SECTIONS = (
    ("scores", "Scores"),
    ("comparisons", "Comparisons"),
    ("suites", "Suites"),
    ("training", "Training"),
    ("labels", "Labels"),
    ("confused", "Confused pairs"),
    ("flips", "What changed"),
    ("data", "Data"),
    ("checks", "Checks"),
    ("run", "Run"),
    ("terms", "Words"),
)


def html_page(facts: ReportFacts) -> str:
    """The whole page."""
    return page("tunesmith.evaluate.report", "page.html.j2", _content(facts))


def _content(facts: ReportFacts) -> dict[str, Any]:
    evaluation = facts.evaluation
    ours, other = subject(evaluation), rival(evaluation)
    changed = flips(evaluation, ours, other) if other else None
    ledger = facts.dataset.ledger
    content: dict[str, Any] = {
        "facts": facts,
        "run": facts.run,
        "evaluation": evaluation,
        "story": story(facts),
        "learning": learning(facts.run),
        "tiles": tables.tiles(facts),
        "confidence": f"{evaluation.confidence:.0%}",
        "subject_name": model_name(ours),
        "rival_name": model_name(other) if other else "",
        "score_heads": [wording.head(name, score) for name, score in ours.scores.items()],
        "measured": {score.metric for score in ours.scores.values()},
        "contestant_rows": tables.contestant_rows(evaluation),
        "comparison_rows": tables.comparison_rows(evaluation),
        "suite_rows": suite_rows(evaluation),
        "class_rows": tables.class_rows(ours),
        "score_chart": score_chart(evaluation.contestants),
        "loss_chart": loss_chart(facts.metrics, facts.run.best_step),
        "heatmap": heatmap(ours),
        "confused": confused_pairs(evaluation, ours),
        "flips": changed,
        "flips_won": changed.won[:SHOWN_FLIPS] if changed else (),
        "flips_lost": changed.lost[:SHOWN_FLIPS] if changed else (),
        "ledger": ledger,
        "used_share": round(100 * ledger.rows_used / max(1, ledger.rows_in), 2),
        "run_facts": tables.run_facts(facts),
        "identity_facts": tables.identity_facts(facts),
        "glossary": glossary(evaluation),
    }
    shown = {
        "comparisons": content["comparison_rows"],
        "suites": content["suite_rows"],
        "labels": content["heatmap"],
        "confused": content["confused"],
        "flips": content["flips"],
    }
    return {**content, "sections": [(anchor, label) for anchor, label in SECTIONS if shown.get(anchor, True)]}
