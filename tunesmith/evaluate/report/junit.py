"""An evaluation as JUnit XML: one test case per item and model, for systems that show test results."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from tunesmith.evaluate.analysis.failures import shown
from tunesmith.evaluate.analysis.rows import row_values
from tunesmith.evaluate.report.findings import Findings
from tunesmith.types.report import Contestant, EvaluationReport

__all__ = ["junit_xml"]

COMPARED = ("difference", "low", "high", "p_value", "p_adjusted", "detectable", "n", "clusters")
"""What a comparison's properties say, by `Comparison`'s own names."""


def junit_xml(found: list[Findings]) -> str:
    """`<testsuites>` with a `<testsuite>` for each suite and model.

    A wrong answer is a failure, one that could not be had is an error, an unscored one is skipped. Times are seconds.
    Properties of a suite are the scores and paired comparisons of its model.
    """
    root = ElementTree.Element("testsuites", name="tunesmith")
    for each in found:
        for contestant in each.report.contestants:
            root.append(_suite(each.report, contestant, each.title))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(report: EvaluationReport, contestant: Contestant, title: str) -> ElementTree.Element:
    wrong = row_values(contestant, title, report.labels).wrong
    cases = []
    for row, is_wrong in zip(contestant.predictions, wrong, strict=True):
        case = ElementTree.Element(
            "testcase",
            classname=_clean(f"{report.split}.{contestant.name}"),
            name=_clean(row.example_id),
            time=f"{row.seconds:.3f}",
        )
        if row.error:
            ElementTree.SubElement(case, "error", message=_clean(row.error))
        elif not np.isfinite(is_wrong):
            ElementTree.SubElement(case, "skipped", message=f"{title} cannot score this answer")
        elif is_wrong:
            message = f"expected {row.reference!r}" if row.reference else f"{title} is not met"
            failure = ElementTree.SubElement(case, "failure", message=_clean(message), type=title)
            question = report.questions.get(row.example_id, "")
            failure.text = _clean(f"{question}\n\nanswered: {shown(row)}")
        cases.append(case)
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    seconds = sum(row.seconds for row in contestant.predictions)
    suite = ElementTree.Element("testsuite", name=_clean(f"{report.split}.{contestant.name}"), time=f"{seconds:.3f}")
    for name, count in counts.items():
        suite.set(name, str(count))
    suite.append(_properties(report, contestant))
    suite.extend(cases)
    return suite


def _properties(report: EvaluationReport, contestant: Contestant) -> ElementTree.Element:
    """The contestant's scores, and how far it is from each that it was compared with, as numbers."""
    values: dict[str, float | int | str | None] = {}
    for title, score in contestant.scores.items():
        fields = {"": score.value, ".standard_error": score.standard_error, ".n": score.n, ".clusters": score.clusters}
        values |= {f"score.{title}{name}": value for name, value in fields.items()}
    for pair in report.comparisons:
        if pair.model == contestant.name:
            name = f"against {pair.baseline}.{pair.metric}"
            values |= {f"{name}.{field}": getattr(pair, field) for field in COMPARED}
    properties = ElementTree.Element("properties")
    for name, value in values.items():
        if value is not None:
            ElementTree.SubElement(properties, "property", name=_clean(name), value=f"{value}")
    return properties


def _clean(text: str) -> str:
    """`text` without the characters that XML 1.0 cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "\N{REPLACEMENT CHARACTER}", text)
