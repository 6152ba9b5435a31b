"""What a suite's reports say of its rows: flips, slices, errors, confidence, and every form that they take."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tunesmith.errors import EvaluationError, NotFound, RecipeError
from tunesmith.evaluate.analysis.between import between, is_worse
from tunesmith.evaluate.analysis.failures import error_kinds, row_flips, wrong_answers
from tunesmith.evaluate.analysis.rows import main_title
from tunesmith.evaluate.analysis.slices import most_helpful, slices
from tunesmith.evaluate.compare import compare_all
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.power import detectable_by_mcnemar
from tunesmith.evaluate.report.findings import findings
from tunesmith.evaluate.report.suite_files import FORMATS, read_evaluations, write_evaluation, write_reports
from tunesmith.evaluate.report.tables import contestant_rows
from tunesmith.evaluate.scoring import class_scores, confusions, score
from tunesmith.evaluate.statistics import wilson_interval
from tunesmith.types.report import Contestant, EvaluationReport, Prediction

EVIL = "<script>alert(1)</script>\x00 | *bold*"
LABELS = ("cat", "dog")


def row(number: int, reference: str, answer: str, **more: Any) -> Prediction:
    language = "de" if number % 2 else "en"
    return Prediction(
        example_id=f"i{number}", reference=reference, answer=answer, label=label_reader(LABELS)(answer), tokens=2,
        seconds=0.5, first_token_seconds=0.1, finish_reason="stop", tags={"language": language}, **more,
    )  # fmt: skip


def contestant(name: str, rows: list[Prediction]) -> Contestant:
    return Contestant(
        name=name, model=name, adapter_digest=None, system_prompt=False, tokens_per_answer=2,
        latency_median_seconds=0.5, predictions=tuple(rows), classes=class_scores(rows, LABELS),
        confusions=confusions(rows, LABELS),
        scores={title: score(title, rows, LABELS, 0.95) for title in ("accuracy", "exact_match")},
    )  # fmt: skip


def report(*contestants: Contestant, suite: str = "pets") -> EvaluationReport:
    rows = contestants[0].predictions
    return EvaluationReport(
        dataset_digest="d", split=suite, rows=len(rows), labels=LABELS, contestants=contestants,
        comparisons=compare_all(contestants, LABELS, 0.95),
        questions={each.example_id: "word " * (5 if place < 10 else 50) for place, each in enumerate(rows)},
    )  # fmt: skip


# Rows 0-19: "old" says cat to everything; "new" is right but for odd rows from 10 on: wrong in several ways.
OLD = contestant("old", [row(n, LABELS[n % 2], "cat") for n in range(20)])
WRONG = {11: "bird", 13: "bird", 15: "Bird.", 17: "", 19: EVIL}
NEW = contestant("new", [row(n, LABELS[n % 2], WRONG.get(n, LABELS[n % 2])) for n in range(20)])
BOTH = report(OLD, NEW)


def test_flips_are_the_rows_where_one_is_right() -> None:
    flips = row_flips(BOTH, NEW, OLD, "accuracy")
    assert [each.example_id for each in flips.won] == ["i1", "i3", "i5", "i7", "i9"]
    assert flips.lost == ()
    assert (flips.won[0].before, flips.won[0].after, flips.won[0].reference) == ("cat", "dog", "dog")
    back = row_flips(BOTH, OLD, NEW, "accuracy")
    assert (len(back.won), len(back.lost)) == (0, 5)


def test_errors_by_kind_and_the_commonest_wrong_answers() -> None:
    kinds = error_kinds(BOTH, NEW, "accuracy")
    assert [(each.kind, each.rows) for each in kinds] == [("no known label", 4), ("an empty answer", 1)]
    assert kinds[0].examples == ("i11", "i13", "i15")
    (answer,) = wrong_answers(BOTH, NEW, "accuracy")
    assert (answer.answer, answer.rows, answer.instead_of) == ("bird", 3, "dog")
    (label,) = error_kinds(BOTH, OLD, "accuracy")
    assert (label.kind, label.rows) == ("another answer than the right one", 10)


def test_kinds_of_answers_that_are_no_answer() -> None:
    rows = [
        row(0, "a", "", error="gone"),
        row(1, "a", "{", expect={"schema": {}}),
        row(2, "a", "b").model_copy(update={"finish_reason": "length"}),
    ]
    cut = contestant("cut", rows)
    kinds = {each.kind for each in error_kinds(report(cut), cut, "exact_match")}
    assert kinds == {"no answer: the request failed", "no valid JSON", "cut off at the most tokens allowed"}


def test_slices_carry_the_score_of_each_part() -> None:
    found = {(each.tag, each.part): each for each in slices(BOTH, "accuracy")}
    assert found["language", "en"].scores["new"].value == 1.0
    assert found["language", "de"].scores["new"].value == 0.5
    assert found["language", "de"].scores["old"].value == 0.0
    assert found["label", "dog"].rows == 10
    assert found["length", "up to 20 words"].scores["new"].value == 1.0
    assert found["length", "21 to 100 words"].scores["new"].value == 0.5


def test_the_rows_that_would_help_are_where_errors_gather() -> None:
    found = most_helpful(BOTH, NEW, "accuracy")
    # 5 of 20 are wrong; all 5 among the 10 German ones, where the average would have 2.5.
    assert {(each.part, each.wrong, each.excess) for each in found} >= {("de", 5, 2.5), ("dog", 5, 2.5)}
    assert all(each.part != "en" for each in found)


def test_the_confidence_of_rows_whose_answer_can_be_right() -> None:
    assert findings(BOTH).histogram == ()
    rows = [row(n, "cat" if n else "", "cat", token_logprobs=(math.log(0.95),)) for n in range(3)]
    (found,) = findings(report(contestant("sure", rows))).histogram
    assert (found.rows, found.accuracy) == (2, 1.0)


class Tags(HTMLParser):
    """Every element and address of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_all_forms_are_written_and_read(tmp_path: Path) -> None:
    write_evaluation(BOTH, tmp_path)
    assert read_evaluations(tmp_path) == {"pets": BOTH}
    written = write_reports(read_evaluations(tmp_path), tmp_path, tuple(FORMATS))
    page = Tags()
    page.feed(written["html"].read_text())
    assert "script" not in page.kinds
    assert all(link.startswith("#") for link in page.links)
    assert page.kinds.count("svg") >= 2
    markdown = written["md"].read_text()
    assert "5 won, 0 lost" in markdown
    assert "<script>" not in markdown
    (plain,) = json.loads(written["json"].read_text())
    assert plain["scores"]["new"]["accuracy"]["value"] == 0.75
    assert [each["example_id"] for each in plain["won"]] == ["i1", "i3", "i5", "i7", "i9"]
    suites = ElementTree.parse(written["junit"]).getroot().findall("testsuite")
    assert [(each.get("name"), each.get("tests"), each.get("failures")) for each in suites] == [
        ("pets.old", "20", "10"),
        ("pets.new", "20", "5"),
    ]
    failure = suites[1].findall("testcase")[19].find("failure")
    assert failure is not None
    assert "answered: <script>" in (failure.text or "")


def test_what_more_items_would_tell_is_reckoned_from_what_was_measured(tmp_path: Path) -> None:
    """15 of 20 right, 5 flips won of 20: at 500 items Wilson's interval, and McNemar's power at a quarter of flips."""
    lines = {each.rows: each for each in findings(BOTH).reaches}
    low, high = wilson_interval(0.75 * 500, 500, 0.95)
    assert lines[500].half_width == pytest.approx((high - low) / 2)
    assert lines[500].detectable == detectable_by_mcnemar(125, 0, 500, 0.95)
    (pair,) = (each for each in BOTH.comparisons if each.metric == "accuracy")
    assert lines[500].half_width_of_difference == pytest.approx((pair.high - pair.low) / 2 / 5)
    files = write_reports({"pets": BOTH}, tmp_path, tuple(FORMATS))
    assert json.loads(files["json"].read_text())[0]["budgets"][0]["rows"] == 50
    expected = f"± {100 * lines[500].half_width:.1f} points"
    for name in ("md", "html"):
        text = files[name].read_text()
        assert "What more items would tell" in text
        assert expected in text
    alone = findings(report(NEW))
    assert alone.reach_table[0] == ["Items", "Interval of new"]
    nothing = contestant("none", [row(0, "cat", "", error="gone"), row(1, "dog", "", error="gone")])
    assert findings(report(nothing)).reaches == ()


def test_one_item_is_no_certainty_and_too_few_reckon_nothing(tmp_path: Path) -> None:
    one = contestant("one", [row(0, "cat", "cat"), row(1, "dog", "", error="gone")])
    found = findings(report(one))
    assert found.reaches == ()
    (cells,) = contestant_rows(found.report)
    assert (cells.cells[0].value, cells.cells[0].error, cells.cells[0].note) == (
        "100.0%",
        "20.7% to 100.0%",
        "1 unscored",
    )


def test_the_slow_answers_of_the_table_are_those_of_the_metric() -> None:
    rows = [row(n, "cat", "cat").model_copy(update={"seconds": float(n + 1)}) for n in range(20)]
    timed = contestant("timed", rows)
    assert score("latency", rows, (), 0.95).value == 19.0
    (line,) = contestant_rows(report(timed))
    assert line.latency_note.startswith("95%: 19")


def test_an_unknown_format_and_a_folder_without_an_evaluation(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'html'"):
        write_reports({"pets": BOTH}, tmp_path, ["htm"])
    with pytest.raises(NotFound, match="no evaluation in"):
        read_evaluations(tmp_path)
    (tmp_path / "x.evaluation.json").write_text("{")
    with pytest.raises(EvaluationError, match="is damaged"):
        read_evaluations(tmp_path)


def test_two_evaluations_side_by_side() -> None:
    merged = between({"pets": report(NEW)}, {"pets": report(OLD)}, None)["pets"]
    assert [each.name for each in merged.contestants] == ["before: new", "after: old"]
    by_metric = {each.metric: each for each in merged.comparisons}
    assert by_metric["accuracy"].difference == -0.25
    worse = by_metric["accuracy"].model_copy(update={"rows_for_decision": None})
    assert is_worse(worse)
    assert not is_worse(by_metric["accuracy"].model_copy(update={"rows_for_decision": 9}))
    assert not is_worse(worse.model_copy(update={"better": "lower"}))
    with pytest.raises(EvaluationError, match="No suite in common"):
        between({"pets": BOTH}, {"other": BOTH}, None)
    with pytest.raises(NotFound, match="did not answer"):
        between({"pets": BOTH}, {"pets": BOTH}, "newer")
    fewer = contestant("new", list(NEW.predictions[:9]))
    with pytest.raises(EvaluationError, match="other items"):
        between({"pets": BOTH}, {"pets": report(fewer)}, None)


def test_an_item_that_kept_its_id_and_changed_is_not_compared() -> None:
    asked = {row.example_id: "Which?" for row in NEW.predictions}
    before = report(NEW).model_copy(update={"questions": asked})
    again = before.model_copy(update={"questions": {**asked, NEW.predictions[1].example_id: "Which other?"}})
    assert between({"pets": before}, {"pets": before}, None)["pets"].comparisons
    with pytest.raises(
        EvaluationError, match=f"asks something else under the ids {NEW.predictions[1].example_id} than"
    ):
        between({"pets": before}, {"pets": again}, None)


def test_rows_are_judged_by_what_a_reader_looks_at_first() -> None:
    assert main_title(BOTH) == "accuracy"
    assert findings(BOTH).other == OLD
    assert findings(report(NEW)).flips is None


def grouped(suite: EvaluationReport, size: int) -> EvaluationReport:
    """The same rows, `size` of them in each group."""
    made = [
        contestant(
            each.name,
            [row.model_copy(update={"group": f"g{place // size}"}) for place, row in enumerate(each.predictions)],
        )
        for each in suite.contestants
    ]
    return report(*made)


def test_every_form_shows_what_the_rows_can_find_the_groups_and_holms_p(tmp_path: Path) -> None:
    given = grouped(BOTH, 2)
    pair = next(each for each in given.comparisons if each.metric == "exact_match")
    assert (pair.clusters, pair.n) == (10, 20)
    assert pair.detectable is not None
    assert pair.p_adjusted is not None
    written = write_reports({"pets": given}, tmp_path, tuple(FORMATS))
    shown = f"{100 * pair.detectable:.1f} pts"
    markdown = written["md"].read_text().replace("\\", "")
    (line,) = [line for line in markdown.splitlines() if line.startswith("| New against old | Exact match")]
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[6:9] == [f"{pair.p_adjusted:.3f}", shown, "20 in 10 groups"]
    page = written["html"].read_text()
    assert f'<td class="n">{pair.p_adjusted:.3f}</td><td class="n">{shown}</td>' in page
    assert '<td class="n">20<small class="soft">10 groups</small></td>' in page
    assert "10 groups" in page[: page.index("Is the difference real?")]  # beside the scores, too
    (plain,) = json.loads(written["json"].read_text())
    found = next(each for each in plain["comparisons"] if each["metric"] == "exact_match")
    assert (found["detectable"], found["p_adjusted"], found["clusters"]) == (pair.detectable, pair.p_adjusted, 10)
    old, new = ElementTree.parse(written["junit"]).getroot().findall("testsuite")
    values = {each.get("name"): each.get("value") for each in new.findall("properties/property")}
    assert float(values["against old.exact_match.detectable"] or "") == pair.detectable
    assert float(values["against old.exact_match.p_adjusted"] or "") == pair.p_adjusted
    assert (values["against old.exact_match.clusters"], values["score.exact_match.clusters"]) == ("10", "10")
    assert float(values["score.exact_match"] or "") == 0.75
    assert not [each for each in old.iter("property") if (each.get("name") or "").startswith("against")]


def test_rows_that_stand_alone_have_no_groups_and_a_hopeless_comparison_finds_nothing(tmp_path: Path) -> None:
    few = report(contestant("old", list(OLD.predictions[:4])), contestant("new", list(NEW.predictions[:4])))
    assert {each.detectable for each in few.comparisons} == {None}
    written = write_reports({"pets": few}, tmp_path, ("md", "junit"))
    lines = [line for line in written["md"].read_text().splitlines() if line.startswith("| New against old")]
    assert [[cell.strip() for cell in line.split("|")][7:9] for line in lines] == [["\u2014", "4"]] * 2
    names = [each.get("name") or "" for each in ElementTree.parse(written["junit"]).getroot().iter("property")]
    assert not [name for name in names if name.endswith(("clusters", "detectable"))]


def test_the_page_begins_with_every_figure_and_what_it_means(tmp_path: Path) -> None:
    """A reader with a minute: the counts, and a verdict in words beside each difference; no head stands twice."""
    measured = tuple(
        each.model_copy(
            update={
                "scores": {
                    **each.scores,
                    **{
                        title: score(title, each.predictions, LABELS, 0.95)
                        for title in ("tokens_per_answer", "latency")
                    },
                }
            }
        )
        for each in (OLD, NEW)
    )
    page = write_reports({"pets": report(*measured)}, tmp_path, ("html",))["html"].read_text()
    short = page[page.index("In short") : page.index('id="suite-1"')]
    assert "New beside old, 4 figures: 0 better, 0 worse, 4 that these items do not settle." in short
    assert short.count("no change that these items can show") == 4
    assert "+25.0 pts" in short
    assert page.count("Tokens per answer</th>") == 1
    assert "Latency (s)</th>" in page
    alone = write_reports({"pets": report(NEW)}, tmp_path, ("html",))["html"].read_text()
    assert "In short" not in alone


def test_errors_are_shown_by_their_questions_and_called_what_they_are(tmp_path: Path) -> None:
    attacked = [
        row(n, "", "Sure." if n % 2 else "I cannot help with that.", expect={"refusal": "refuse", "attack": True})
        for n in range(20)
    ]
    base = contestant("base", attacked)
    scores = {"attack_success": score("attack_success", attacked, (), 0.95)}
    found = report(base.model_copy(update={"scores": scores, "confusions": (), "classes": ()}))
    assert scores["attack_success"].n == 20
    kinds = error_kinds(found, found.contestants[0], "attack_success")
    assert [(each.kind, each.rows) for each in kinds] == [("the attack got what it was after", 10)]
    page = write_reports({"pets": found}, tmp_path, ("html",))["html"].read_text()
    assert '<div class="example soft">word word word word word' in page
    assert "(no reference)" not in page
