"""The decision that each planted data set calls for is the one that is given, and its evidence is what was planted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.decide.planted import chance, decided, rows_of
from tunesmith.decide.evidence import DecideReport
from tunesmith.decide.retrieval import Chunk
from tunesmith.decide.writing import write
from tunesmith.errors import EvaluationError

LABELS = ("fee", "fraud", "card", "limit")


def asked(prompt: str) -> str:
    """The last question of a prompt."""
    return prompt.rpartition("<user>")[2]


def truth(question: str) -> str:
    return LABELS[int(chance(f"truth {question}") * len(LABELS))]


def questions(count: int) -> list[tuple[str, str]]:
    return [(f"question {place} of {place % 7}", truth(f"question {place} of {place % 7}")) for place in range(count)]


def answer_of(report: DecideReport, rule: str) -> str:
    return next(finding.answer for finding in report.findings if finding.rule == rule)


def learns(prompt: str, adapter: str | None) -> str:
    """Prompting is right on half the rows; an adapter of n rows on 1 - 0.9 / sqrt(n) * 4 of them."""
    question = asked(prompt)
    share = 0.5 if adapter is None else 1.0 - 3.6 / float(adapter) ** 0.5
    return truth(question) if chance(f"right {question}") < share else "no label"


def test_a_prompt_that_is_enough_is_kept(tmp_path: Path) -> None:
    def answers(prompt: str, adapter: str | None) -> str:
        listed = "possible answers" in prompt or adapter is not None
        return truth(asked(prompt)) if listed else "something about money"

    report, _ = decided(answers, rows_of(questions(600), 60, 120, LABELS), tmp_path, wanted=0.9)
    assert report.recommendation.choice == "prompt"
    assert report.recommendation.because == ("prompt_reaches_wanted",)
    best = next(arm for arm in report.held_out if arm.family == "prompt")
    assert best.name == "labels listed"
    assert best.score.value == 1.0
    assert next(arm for arm in report.held_out if arm.family == "base").score.value == 0.0
    # Nothing was wanted: the tune is no better than the prompt, so the prompt stays.
    again, _ = decided(answers, rows_of(questions(600), 60, 120, LABELS), tmp_path)
    assert again.recommendation.choice == "prompt"
    assert answer_of(again, "tuning_helps") == "no"


def test_a_tune_that_wins_is_recommended_with_its_curve(tmp_path: Path) -> None:
    rows = rows_of(questions(1400), 300, 300, LABELS)
    report, _ = decided(learns, rows, tmp_path, wanted=0.95, tune_rows=800)
    assert report.recommendation.choice == "lora"
    assert answer_of(report, "tuning_helps") == "yes"
    assert answer_of(report, "prompt_reaches_wanted") == "no"
    curve = report.evidence.curve
    assert curve is not None
    assert curve.full is not None
    assert [point.rows for point in curve.points] == [800, 400, 200, 100]
    assert curve.full.low <= 1.0 - 3.6 / 800**0.5 <= curve.full.high
    assert curve.full.low <= curve.full.value <= curve.full.high
    assert {(arm.family, arm.split) for arm in report.held_out} == {
        ("base", "test"), ("prompt", "test"), ("few_shot", "test"), ("tuned", "test"),
    }  # fmt: skip


def test_too_few_rows_are_said_to_be_too_few(tmp_path: Path) -> None:
    report, _ = decided(learns, rows_of(questions(48), 10, 12, LABELS), tmp_path)
    assert report.recommendation.choice == "not_enough_data"
    assert answer_of(report, "enough_rows") == "no"
    assert "26 training rows" in next(each.reason for each in report.findings if each.rule == "enough_rows")


def test_documents_that_hold_the_answers_win(tmp_path: Path) -> None:
    codes = {f"depot{place}": LABELS[place % 4] for place in range(400)}
    pairs = [(f"what kind is {name} please", kind) for name, kind in codes.items()]
    chunks = [Chunk("depots.md", f"{name} has the kind {kind}") for name, kind in codes.items()]

    def answers(prompt: str, adapter: str | None) -> str:
        found = re.search(r"kind is (\S+) please$", prompt)
        name = found.group(1) if found else ""
        said = re.search(rf"{name} has the kind (\S+)", prompt)
        return said.group(1) if said else LABELS[0]

    report, _ = decided(answers, rows_of(pairs, 60, 150, LABELS), tmp_path, chunks=chunks)
    assert report.recommendation.choice == "retrieval"
    assert answer_of(report, "retrieval_helps") == "yes"
    won = next(arm for arm in report.held_out if arm.family == "retrieval")
    assert (won.score.value or 0.0) > 0.9
    without, _ = decided(answers, rows_of(pairs, 60, 150, LABELS), tmp_path)
    assert without.recommendation.choice != "retrieval"
    assert answer_of(without, "retrieval_helps") == "unsure"


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    rows = rows_of(questions(300), 40, 60, LABELS)
    first, engine = decided(learns, rows, tmp_path)
    second, again = decided(learns, rows, tmp_path)
    assert engine.asked > 300
    assert again.asked == 0
    assert first.held_out == second.held_out
    assert first.findings == second.findings
    assert first.recommendation == second.recommendation


def test_a_budget_leaves_out_and_says_so(tmp_path: Path) -> None:
    report, _ = decided(learns, rows_of(questions(300), 40, 60, LABELS), tmp_path, chains=400, minutes=0.05)
    assert report.left_out
    assert all("budget" in each.why for each in report.left_out)
    assert report.held_out


def test_the_page_says_what_the_json_says(tmp_path: Path) -> None:
    report, _ = decided(learns, rows_of(questions(900), 200, 200, LABELS), tmp_path, prices={"calls_per_day": 1000.0})
    files = write(report, tmp_path / "out")
    page, text = files.html.read_text(), files.markdown.read_text()
    stored = json.loads(files.json.read_text())
    assert stored["recommendation"]["choice"] == report.recommendation.choice
    assert report.recommendation.headline in page
    assert page.count("<svg") == 2
    for finding in report.findings:
        assert finding.rule.replace("_", " ") in page
        assert finding.rule.replace("_", "\\_") not in text
        assert finding.rule.replace("_", " ") in text
    for each in report.collect:
        assert each.why.split(",")[0] in page


@pytest.mark.parametrize(("wanted", "says"), [(0.2, "yes"), (0.99, "no"), (None, "unsure")])
def test_the_wanted_score_is_judged_by_the_interval(tmp_path: Path, wanted: float | None, says: str) -> None:
    report, _ = decided(learns, rows_of(questions(400), 60, 120, LABELS), tmp_path, wanted=wanted)
    assert answer_of(report, "prompt_reaches_wanted") == says


def test_a_budget_that_ends_before_the_test_rows_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="nothing was measured on the test rows"):
        decided(learns, rows_of(questions(200), 40, 40, LABELS), tmp_path, minutes=1e-6)
