"""Evaluations of suites as files: a folder holds one JSON file per suite, and the reports made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from tunesmith.documents import choices
from tunesmith.errors import EvaluationError, NotFound, Problem, RecipeError
from tunesmith.evaluate.report.findings import findings
from tunesmith.evaluate.report.junit import junit_xml
from tunesmith.evaluate.report.suite_markdown import suites_markdown
from tunesmith.evaluate.report.suite_page import suites_page
from tunesmith.types.base import digest_json
from tunesmith.types.report import EvaluationReport

__all__ = ["FORMATS", "read_evaluations", "write_evaluation", "write_reports"]

ENDING = ".evaluation.json"
FORMATS: Mapping[str, str] = MappingProxyType(
    {"html": "report.html", "md": "report.md", "json": "report.json", "junit": "report.junit.xml"}
)
"""Format -> the file it makes."""


def write_evaluation(report: EvaluationReport, folder: Path) -> Path:
    """Write the evaluation of one suite, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = "".join(each if each.isalnum() or each in "-_." else "-" for each in report.split).strip(".")
    name = plain if plain == report.split else f"{plain}-{digest_json(report.split)[:8]}"
    path = folder / f"{name}{ENDING}"
    _write(path, report.model_dump_json())
    return path


def read_evaluations(place: Path) -> dict[str, EvaluationReport]:
    """The evaluations by suite: all in a folder, or one file of it.

    Raises NotFound when there are none, EvaluationError when one cannot be read.
    """
    whole = place.is_file() and place.name.endswith(ENDING)
    paths = [place] if whole else sorted(place.glob(f"*{ENDING}")) if place.is_dir() else []
    if not paths:
        raise NotFound(
            f"There is no evaluation in {place}.",
            hint=f"Name a folder that `tunesmith eval run SUITE --model ...` wrote, or one of its files *{ENDING}.",
        )
    found = {}
    for path in paths:
        try:
            report = EvaluationReport.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise EvaluationError(f"{path} is damaged: {error}", hint="Delete it and evaluate again.") from error
        found[report.split] = report
    return found


def write_reports(reports: Mapping[str, EvaluationReport], folder: Path, formats: Sequence[str]) -> dict[str, Path]:
    """Write the reports in the given formats into `folder`; format -> file. Raises RecipeError for an unknown one."""
    unknown = [each for each in formats if each not in FORMATS]
    if unknown:
        raise RecipeError(
            [Problem(f"{each!r} is no format", file="--format", fix=choices(each, FORMATS)) for each in unknown],
            message="The reports cannot be written:",
        )
    found = [findings(report) for report in reports.values()]
    created = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    made = {
        "html": lambda: suites_page(found, created),
        "md": lambda: suites_markdown(found, created),
        "json": lambda: json.dumps([each.as_json() for each in found], ensure_ascii=False, indent=1),
        "junit": lambda: junit_xml(found),
    }
    written = {}
    for name in dict.fromkeys(formats):
        written[name] = folder / FORMATS[name]
        _write(written[name], made[name]())
    return written


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".partial")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
