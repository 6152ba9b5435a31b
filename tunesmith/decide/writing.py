"""Writing a decision: decision.json for programs, decision.md for reviews, decision.html for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tunesmith.decide import wording
from tunesmith.decide.charts import arms_chart, curve_chart
from tunesmith.decide.evidence import Choice, DecideReport
from tunesmith.decide.recommend import UNMEASURED
from tunesmith.page.html import page
from tunesmith.page.markdown import escaped, table

__all__ = ["DecisionFiles", "html_page", "markdown_page", "write"]

NAMES: tuple[tuple[Choice, str, str], ...] = (
    ("prompt", "Prompt", "pass"),
    ("retrieval", "Retrieval", "pass"),
    ("lora", "LoRA", "pass"),
    ("full", "Full tuning", "pass"),
    ("not_enough_data", "Not enough data", "inconclusive"),
)


class DecisionFiles(NamedTuple):
    """Where the three forms of one decision lie."""

    json: Path
    markdown: Path
    html: Path


def write(report: DecideReport, folder: Path) -> DecisionFiles:
    """Write all three into `folder` (made when absent), replacing earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    files = DecisionFiles(folder / "decision.json", folder / "decision.md", folder / "decision.html")
    texts = (report.model_dump_json(indent=1), markdown_page(report), html_page(report))
    for path, content in zip(files, texts, strict=True):
        draft = path.with_name(path.name + ".partial")
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    return files


def html_page(report: DecideReport) -> str:
    """The whole page."""
    badge, tone = _badge(report)
    wanted = report.evidence.wanted
    content = {
        "report": report,
        "badge": badge,
        "tone": tone,
        "details": wording.summary(report),
        "note": wording.confidence_note(report),
        "arms": wording.arm_table(report.held_out),
        "arms_chart": arms_chart(report.held_out, wanted),
        "curve_chart": curve_chart(report.evidence.curve, wanted) if report.evidence.curve else "",
        "curve_note": wording.curve_note(report.evidence.curve),
        "findings": wording.finding_table(report),
        "costs": wording.cost_table(report),
        "even": wording.even_note(report),
        "validation": wording.arm_table(report.validation),
    }
    return page("tunesmith.decide", "page.html.j2", content)


def markdown_page(report: DecideReport) -> str:
    """The same in Markdown, without the plots."""
    badge, _ = _badge(report)
    arms, costs = wording.arm_table(report.held_out), wording.cost_table(report)
    findings, validation = wording.finding_table(report), wording.arm_table(report.validation)
    parts = [
        f"# {escaped(report.name)}: {badge}",
        f"**{escaped(report.recommendation.headline)}**",
        *(escaped(line) for line in wording.summary(report)),
        "## Ways on held-out rows",
        escaped(wording.confidence_note(report)),
        table(arms.heads, arms.rows),
        "## Learning curve",
        escaped(wording.curve_note(report.evidence.curve)),
        "## Cost",
        table(costs.heads, costs.rows),
        escaped(wording.even_note(report)),
        "## Rows to collect",
        *_listed([(each.kind, each.why) for each in report.collect], "Nothing stands out."),
        "## Rules",
        table(findings.heads, findings.rows),
        "## Tried on validation rows",
        table(validation.heads, validation.rows),
        "## Left out",
        *_listed([(each.what, each.why) for each in report.left_out], "Nothing."),
        f"{escaped(report.created)}, base {escaped(report.base)}, dataset `{report.dataset_digest[:16]}`, "
        f"{report.seconds:.0f} s.",
    ]
    return "\n\n".join(parts) + "\n"


def _badge(report: DecideReport) -> tuple[str, str]:
    """(name, tone) of the recommendation."""
    if report.recommendation.headline == UNMEASURED:
        return "Not measured far enough", "inconclusive"
    return next((name, tone) for choice, name, tone in NAMES if choice == report.recommendation.choice)


def _listed(pairs: list[tuple[str, str]], nothing: str) -> list[str]:
    return ["\n".join(f"- {escaped(what)}: {escaped(why)}" for what, why in pairs)] if pairs else [nothing]
