"""Writing the report: report.json for programs, report.md for reviews, report.html for everybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from tunesmith.evaluate.report.facts import ReportFacts
from tunesmith.evaluate.report.markdown import markdown_page
from tunesmith.evaluate.report.page import html_page
from tunesmith.evaluate.report.story import story

__all__ = ["ReportFiles", "write"]


class ReportFiles(NamedTuple):
    """Where the three forms of one report lie."""

    json: Path
    markdown: Path
    html: Path


def write(facts: ReportFacts, folder: Path) -> ReportFiles:
    """Write all three into `folder` (made when absent), replacing earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    found = story(facts)
    summary = {"outcome": found.tone, "headline": found.headline, "details": list(found.details)}
    content = json.dumps(summary | facts.model_dump(mode="json"), indent=1, ensure_ascii=False)
    files = ReportFiles(folder / "report.json", folder / "report.md", folder / "report.html")
    for path, text in zip(files, (content, markdown_page(facts), html_page(facts)), strict=True):
        draft = path.with_name(path.name + ".partial")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    return files
