"""Suites as one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tunesmith.evaluate.analysis.slices import FEWEST_ROWS, Slice
from tunesmith.evaluate.calibration import ConfidenceBin
from tunesmith.evaluate.report import tables, wording
from tunesmith.evaluate.report.charts import score_chart
from tunesmith.evaluate.report.findings import Findings
from tunesmith.evaluate.report.heatmap import heatmap
from tunesmith.evaluate.report.judges import AGREEMENT_HEADS, agreement_rows
from tunesmith.evaluate.report.suites import rows_of_suites
from tunesmith.page.frame import WIDTH, Frame, gridline
from tunesmith.page.html import page
from tunesmith.page.svg import picture, tag, text, ticks

__all__ = ["confidence_chart", "suites_page"]

SHOWN = 30


def suites_page(found: Sequence[Findings], created: str) -> str:
    """The whole page."""
    content = {
        "suites": [_suite(each) for each in found],
        "created": created,
        "summary": _summary(found),
        "least": FEWEST_ROWS,
        "shown": SHOWN,
        "agreement_heads": AGREEMENT_HEADS,
    }
    return page("tunesmith.evaluate.report", "suites.html.j2", content)


def _summary(found: Sequence[Findings]) -> dict[str, Any] | None:
    """Every figure of every suite in one table, and how many are better and worse; None without a second model."""
    first = found[0]
    if first.other is None:
        return None
    rows = rows_of_suites({each.report.split: each.report for each in found}, "worse")
    counts = Counter(row.kind for row in rows)
    return {
        "ours": wording.name(first.ours.name),
        "other": wording.name(first.other.name),
        "rows": rows,
        "sentence": (
            f"{wording.name(first.ours.name)} beside {first.other.name}, {len(rows)} figures: {counts['good']} better, "
            f"{counts['bad']} worse, {counts['unsure']} that these items do not settle."
        ),
    }


def _suite(found: Findings) -> dict[str, Any]:
    report = found.report
    return {
        "found": found,
        "report": report,
        "confidence": f"{report.confidence:.0%}",
        "judged_by": wording.name(found.title).lower(),
        "score_heads": [wording.head(name, score) for name, score in found.ours.scores.items()],
        "measured": {score.metric for score in found.ours.scores.values()},
        "asked": lambda example: wording.shorten(report.questions.get(example) or example, 110),
        "contestant_rows": tables.contestant_rows(report),
        "comparison_rows": tables.comparison_rows(report),
        "agreement_rows": agreement_rows(report),
        "score_chart": score_chart(report.contestants),
        "heatmap": heatmap(found.ours),
        "confidence_chart": confidence_chart(found.histogram),
        "names": [wording.name(each.name) for each in report.contestants],
        "slice_rows": _slice_rows(found.slices),
        "failed": sum(bool(row.error) for each in report.contestants for row in each.predictions),
    }


def _slice_rows(parts: Sequence[Slice]) -> list[tuple[bool, Slice, list[str], list[str]]]:
    """(whether it is the first of its tag, the part, values, intervals) of each part."""
    return [
        (
            index == 0 or parts[index - 1].tag != part.tag,
            part,
            [wording.amount(score.value, score.scale) for score in part.scores.values()],
            [wording.interval(score) for score in part.scores.values()],
        )
        for index, part in enumerate(parts)
    ]


def confidence_chart(bins: Sequence[ConfidenceBin]) -> Markup:
    """How many rows have which confidence (bars), and how many of them are right (their filled part)."""
    if not bins:
        return Markup("")
    frame = Frame(52, 16, WIDTH - 24, 220)
    top = max(each.rows for each in bins)
    x, y = frame.x(0, 1), frame.y(0, top)
    parts = [gridline(frame, y(each), f"{each:g}") for each in ticks(0, top, 4)]
    for each in bins:
        width = x(each.high) - x(each.low) - 4
        title = tag("title", f"confidence {each.low:.0%} to {each.high:.0%}: {each.accuracy:.0%} of {each.rows} right")
        for rows, kind in ((each.rows, "cell wrong"), (each.accuracy * each.rows, "cell right")):
            height = frame.bottom - y(rows)
            bar = {"x": x(each.low) + 2, "y": y(rows), "width": width, "height": height}
            parts.append(tag("rect", title, class_=kind, **bar))
    parts += [text(x(each / 10), frame.bottom + 18, f"{each * 10}%", "middle") for each in range(11)]
    return picture(WIDTH, 250, "Confidence of the answers", *parts)
