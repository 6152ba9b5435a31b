from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tunesmith.evaluate.compare import compare_all
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.report import wording
from tunesmith.evaluate.report.charts import loss_chart
from tunesmith.evaluate.report.facts import ReportFacts
from tunesmith.evaluate.report.heatmap import heatmap
from tunesmith.evaluate.report.markdown import markdown_page
from tunesmith.evaluate.report.page import html_page
from tunesmith.evaluate.report.samples import confused_pairs, flips
from tunesmith.evaluate.report.story import rival, story, subject
from tunesmith.evaluate.report.write import write
from tunesmith.evaluate.scoring import class_scores, confusions, score
from tunesmith.gate.stage import judge
from tunesmith.page.markdown import escaped
from tunesmith.page.svg import tag, ticks
from tunesmith.types.dataset import Check, DatasetManifest, Drop, Ledger, RenderingProof, SourceFile, SplitStatistics
from tunesmith.types.decision import Decision, Verdict, Waiver
from tunesmith.types.gate import GateFacts
from tunesmith.types.recipe import GateSpec
from tunesmith.types.report import Contestant, EvaluationReport, Prediction
from tunesmith.types.run import RunRecord

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)> | *bold* [a](http://evil.example)"
LABELS = ("fee", "fraud", "refund")
METRICS = ("accuracy", "macro_f1", "exact_match", "invalid_rate", "perplexity")
REFERENCES = LABELS * 10


def contestant(name: str, answers: list[str], labels: tuple[str, ...] = LABELS) -> Contestant:
    read = label_reader(labels)
    rows = tuple(
        Prediction(
            example_id=f"e{index}", reference=reference, answer=answer, label=read(answer), tokens=3,
            finish_reason="stop", seconds=0.2 + index / 100, first_token_seconds=0.1,
            reference_logprob=-1.0 - index % 3, reference_tokens=2,
        )
        for index, (reference, answer) in enumerate(zip(REFERENCES, answers, strict=True))
    )  # fmt: skip
    return Contestant(
        name=name, model="tiny", adapter_digest="ab" * 32 if name == "tuned" else None, system_prompt=name != "base",
        scores={metric: score(metric, rows, labels, 0.95) for metric in METRICS}, classes=class_scores(rows, labels),
        confusions=confusions(rows, labels), tokens_per_answer=3, latency_median_seconds=0.3, predictions=rows,
    )  # fmt: skip


def evaluation(*names: str, labels: tuple[str, ...] = LABELS) -> EvaluationReport:
    answers = {
        "base": [EVIL] * 30,
        "prompt_only": ["fee"] * 30,
        "tuned": ["refund" if index in (0, 3) else each for index, each in enumerate(REFERENCES)],
    }
    contestants = tuple(contestant(name, answers[name], labels) for name in names)
    return EvaluationReport(
        dataset_digest="d" * 64, split="test", rows=30, labels=labels, contestants=contestants, concurrency=8,
        comparisons=compare_all(contestants, labels, 0.95), questions={f"e{i}": f"{EVIL} {i}" for i in range(30)},
    )  # fmt: skip


def facts(report: EvaluationReport, **changes: Any) -> ReportFacts:
    split = SplitStatistics(rows=30, tokens=900, trained_tokens=60, longest=40)
    check = Check(name=f"finite weights {EVIL}", passed=False, checked=1200, detail="nan in lora_A")
    dataset = DatasetManifest(
        digest="d" * 64,
        sources=(SourceFile(path=EVIL, digest="a" * 64, format="csv", rows=35),),
        splits={"train": split, "test": split},
        ledger=Ledger(
            rows_in=1035, rows_used=1030, tokens_in=1000, tokens_used=900,
            drops=(Drop(reason="duplicate", rows=5, tokens=100, where=("rows.csv:7",)),),
        ),
        proof=RenderingProof(template_digest="t" * 64, tokenizer_digest="k" * 64, checks=(check,)),
    )  # fmt: skip
    run = RunRecord.model_validate(
        {name: "x" for name, field in RunRecord.model_fields.items() if field.annotation is str}
        | {name: 1000 for name, field in RunRecord.model_fields.items() if field.annotation is int}
        | {name: 0.5 for name, field in RunRecord.model_fields.items() if field.annotation is float}
        | {"checks": (check,), "best_step": 2, "start_validation_loss": 2.0, "best_validation_loss": 1.1}
    )
    values: dict[str, Any] = {
        "title": f"Disputes {EVIL}", "created": "today", "dataset": dataset, "run": run, "evaluation": report,
        "metrics": (
            {"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "validation_loss": 1.1},
            {"step": 3, "loss": None},
        ),
        "environment": {"torch": EVIL}, "places": {"adapter": "/runs/a"}, "next_steps": {"Serve it": "tunesmith serve"},
    }  # fmt: skip
    return ReportFacts.model_validate({**values, **changes})


ALL = evaluation("base", "prompt_only", "tuned")


class Elements(HTMLParser):
    """All elements with their attributes; fails on a close that does not match."""

    VOID = ("meta", "br", "img", "link", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(page)
    assert parser.open == []
    return parser.seen


def decided(report: EvaluationReport) -> Decision:
    return judge(GateSpec(), report, GateFacts())


def test_the_page_escapes_every_text_and_loads_nothing() -> None:
    verdict = Verdict(rule=EVIL, outcome="fail", reason=EVIL)
    page = html_page(facts(ALL, decision=Decision(report_digest="r", verdicts=(verdict,))))
    found = elements(page)
    assert {"script", "img", "link", "iframe"}.isdisjoint(kind for kind, _ in found)
    for _, attributes in found:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in page
    assert "@import" not in page
    assert page.count("&lt;script&gt;") > 10


def test_the_page_is_well_formed_and_its_links_lead_somewhere() -> None:
    page = html_page(facts(ALL, decision=decided(ALL)))
    assert page.startswith("<!doctype html>")
    found = elements(page)
    anchors = {attributes["id"] for _, attributes in found if "id" in attributes}
    links = {str(attributes["href"])[1:] for kind, attributes in found if kind == "a"}
    assert links <= anchors
    assert {"scores", "comparisons", "training", "labels", "confused", "flips", "data", "checks", "run"} <= links


def test_the_page_says_what_matters() -> None:
    page = html_page(facts(ALL, decision=decided(ALL)))
    assert "The tuned model answers 93.3% ± 4.6% of 30 held-out rows with the right label." in page
    assert "1,035 rows came in = 1,030 used + 5 dropped" in page
    assert "8 requests in flight" in page
    assert '<li class="failed">' in page
    assert "tunesmith serve" in page


@pytest.mark.parametrize(
    ("outcome", "badge"),
    [
        ("pass", "Passed every gate"),
        ("fail", "Did not pass the gate"),
        ("inconclusive", "Inconclusive: more rows are needed"),
    ],
)
def test_the_story_follows_the_decision(outcome: Any, badge: str) -> None:
    decision = Decision(report_digest="r", verdicts=(Verdict(rule="r", outcome=outcome, reason="because"),))
    found = story(facts(ALL, decision=decision))
    assert (found.tone, found.badge) == (outcome, badge)


def test_a_waiver_is_shown_with_its_verdict() -> None:
    verdict = Verdict(rule="size(x)", outcome="fail", reason="too large")
    decision = Decision(report_digest="r", verdicts=(verdict,))
    waiver = Waiver(
        rule=verdict.rule, reason=EVIL, by="Ann", created="2026-03-14T12:00:00+00:00", until="2026-04-01",
        verdict_digest=decision.digest_of(verdict), signature="s",
    )  # fmt: skip
    given = facts(ALL, decision=decision.model_copy(update={"waivers": (waiver,)}))
    assert (story(given).tone, story(given).badge) == ("inconclusive", "Passed with waivers")
    page = html_page(given)
    assert "script" not in {kind for kind, _ in elements(page)}
    for text in (page, markdown_page(given).replace("\\", "")):
        assert "Waived by Ann on 2026-03-14, until 2026-04-01:" in text


def test_the_story_compares_with_prompting() -> None:
    found = story(facts(ALL))
    assert (found.tone, found.badge) == ("none", "Measured, not judged")
    assert found.details[0].startswith(
        "The base model with a prompt reaches 33.3%. Tuning is 60.0 points better on the same rows (95% interval +"
    )
    assert found.details[0].endswith("more than chance explains.")
    assert found.details[1] == "Every one of the tuned model's 30 answers is a known label."


def test_the_story_admits_a_tie_and_a_loss() -> None:
    same = contestant("tuned", ["fee"] * 30)
    tie = ALL.model_copy(update={"contestants": (ALL.contestants[1], same)})
    tie = tie.model_copy(update={"comparisons": compare_all(tie.contestants, LABELS, 0.95)})
    assert "no difference on the same 30 rows" in story(facts(tie)).details[0]
    worse = contestant("tuned", ["nothing"] * 30)
    lost = ALL.model_copy(update={"contestants": (ALL.contestants[1], worse)})
    lost = lost.model_copy(update={"comparisons": compare_all(lost.contestants, LABELS, 0.95)})
    assert "33.3 points worse" in story(facts(lost)).details[0]
    assert "30 are no known label" in story(facts(lost)).details[1]


@pytest.mark.parametrize("names", [("tuned",), ("base",), ("base", "tuned"), ("prompt_only", "base")])
def test_any_contestants_make_a_page(names: tuple[str, ...]) -> None:
    report = evaluation(*names)
    page = html_page(facts(report))
    elements(page)
    assert ('id="flips"' in page) == (len(names) > 1)
    assert markdown_page(facts(report))


def test_a_task_without_labels_makes_a_page() -> None:
    report = evaluation("prompt_only", "tuned", labels=())
    page = html_page(facts(report, metrics=()))
    elements(page)
    assert 'id="labels"' not in page
    assert "exactly as expected" in story(facts(report)).headline
    assert "30 unscored" in page
    assert "No loss was recorded." in page


def test_a_run_without_validation_rows_says_so() -> None:
    unwatched = facts(ALL).run.model_copy(update={"start_validation_loss": None, "best_validation_loss": None})
    assert "was not watched" in html_page(facts(ALL, run=unwatched))
    assert "went from 2.000 to 1.100" in html_page(facts(ALL))


def test_subject_and_rival() -> None:
    assert (subject(ALL).name, getattr(rival(ALL), "name", None)) == ("tuned", "prompt_only")
    assert rival(evaluation("base")) is None
    assert subject(evaluation("prompt_only", "base")).name == "base"


def test_confused_pairs_show_their_rows() -> None:
    (pair,) = confused_pairs(ALL, subject(ALL))
    assert (pair.reference, pair.predicted, pair.rows, pair.support) == ("fee", "refund", 2, 10)
    assert [text.split()[-1] for text in pair.texts] == ["0", "3"]


def test_flips_are_complete_and_agree_with_the_comparison() -> None:
    found = flips(ALL, ALL.contestant("tuned"), ALL.contestant("prompt_only"))
    pair = next(
        each
        for each in ALL.comparisons
        if (each.metric, each.baseline) == ("accuracy", "prompt_only") and each.model == "tuned"
    )
    assert (len(found.won), len(found.lost)) == (pair.won, pair.lost) == (20, 2)
    assert (found.lost[0].before, found.lost[0].after) == ("fee", "refund")


def test_markdown_has_no_live_markup_from_data() -> None:
    page = markdown_page(facts(ALL, decision=decided(ALL)))
    assert "<script" not in page
    assert "](http" not in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert all(count == bars[0] for count in bars[:5])
    assert "1,035 rows in = 1,030 used + 5 dropped" in page


def test_markdown_escapes_what_it_must() -> None:
    assert escaped("a|b *c* <d> [e](f)\n# g `h` _i_") == r"a\|b \*c\* &lt;d&gt; \[e\]\(f\) \# g \`h\` \_i\_"


def test_three_files_are_written(tmp_path: Path) -> None:
    files = write(facts(ALL, decision=decided(ALL)), tmp_path / "report")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "report.json", "report.md"]
    stored = json.loads(files.json.read_text(encoding="utf-8"))
    assert stored["headline"].startswith("The tuned model answers")
    assert EvaluationReport.model_validate(stored["evaluation"]) == ALL
    assert files == write(facts(ALL), tmp_path / "report")


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 3.57) == [0, 1, 2, 3]
    assert ticks(0, 120, 8) == [0, 20, 40, 60, 80, 100, 120]
    assert ticks(2, 2) == [2]


def test_svg_escapes_texts_and_attributes() -> None:
    assert str(tag("text", "<b>", class_='"x"', stroke_width=1.234)) == (
        '<text class="&#34;x&#34;" stroke-width="1.23">&lt;b&gt;</text>'
    )


def test_the_loss_chart_marks_the_best_step_and_survives_gaps() -> None:
    rows = [
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": float("nan")},
        {"step": 2, "validation_loss": 1.5},
        {"note": 1},
    ]
    picture = str(loss_chart(rows, best_step=2))
    assert "best 1.500" in picture
    assert "nan" not in picture
    assert str(loss_chart([], 1)) == ""


def test_a_large_confusion_matrix_has_titles_instead_of_numbers() -> None:
    labels = tuple(f"label {index}" for index in range(60))
    rows = tuple(
        Prediction(
            example_id=label, reference=label, answer=label, label=label, tokens=1, seconds=1, first_token_seconds=1,
            finish_reason="stop",
        )
        for label in labels
    )  # fmt: skip
    big = ALL.contestants[0].model_copy(
        update={"classes": class_scores(rows, labels), "confusions": confusions(rows, labels)}
    )
    picture = str(heatmap(big))
    assert picture.count("<title>") == 60
    assert 'class="count' not in picture


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (wording.about(14113), "15,000"),
        (wording.about(87), "87"),
        (wording.about(100), "100"),
        (wording.amount(0.9333, "proportion"), "93.3%"),
        (wording.amount(1234.5, "number"), "1,234"),
        (wording.amount(None, "share"), "\u2014"),
        (wording.change(-0.122, "share"), "\u221212.2"),
        (wording.change(0.5, "number"), "+0.5"),
        (wording.duration(0.34), "340 ms"),
        (wording.duration(12.4), "12.4 s"),
        (wording.duration(200), "3 min 20 s"),
        (wording.size(2**31), "2.00 GiB"),
        (wording.size(310 * 2**20), "310 MiB"),
        (wording.name("macro_f1"), "Macro F1"),
        (wording.shorten("one  two three", 9), "one two \u2026"),
    ],
)
def test_wording(found: str, expected: str) -> None:
    assert found == expected
