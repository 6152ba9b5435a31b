"""What people read: figures with their errors, verdicts, trained tokens in colour, bars, the doctor's findings."""

from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tunesmith.cli import doctor, tables
from tunesmith.cli.gate import GateFlags, _next
from tunesmith.cli.main import app
from tunesmith.cli.options import command_line
from tunesmith.cli.output import RichProgress
from tunesmith.cli.prepare import two_colours
from tunesmith.grade import sandbox
from tunesmith.grade.sandbox import Isolation
from tunesmith.settings import Settings
from tunesmith.types.conversation import Rendered
from tunesmith.types.dataset import Check, DatasetManifest, Drop, Ledger, RenderingProof, SplitStatistics
from tunesmith.types.decision import Decision, Verdict
from tunesmith.types.report import Comparison, Confusion, Contestant, EvaluationReport, Score


def text_of(*things: object) -> str:
    stream = StringIO()
    console = Console(width=140, file=stream)
    for thing in things:
        console.print(thing)
    return stream.getvalue()


def contestant(name: str, accuracy: float | None, adapter: str | None = None) -> Contestant:
    return Contestant(
        name=name,
        model="m",
        adapter_digest=adapter,
        system_prompt=True,
        scores={
            "accuracy": Score(
                metric="accuracy", value=accuracy, n=200, standard_error=accuracy and 0.02, scale="proportion"
            ),
            "perplexity": Score(metric="perplexity", scale="number", value=3.14159, n=200, standard_error=0.5),
        },
        confusions=(
            Confusion(reference="fee", predicted="fee", count=50),
            Confusion(reference="fee", predicted="refund", count=2),
            Confusion(reference="atm", predicted=None, count=7),
        ),
        tokens_per_answer=4.25,
        latency_median_seconds=0.0816,
        predictions=(),
    )


REPORT = EvaluationReport(
    dataset_digest="d",
    split="test",
    rows=200,
    labels=("atm", "fee"),
    contestants=(contestant("base", None), contestant("tuned", 0.875, "a")),
    comparisons=(
        Comparison(
            metric="accuracy",
            model="tuned",
            baseline="base",
            difference=0.405,
            low=0.33,
            high=0.48,
            confidence=0.95,
            p_value=0.00012,
            p_adjusted=0.00048,
            detectable=0.0812,
            test="McNemar exact",
            n=200,
            won=90,
            lost=9,
        ),
    ),
)


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        (Score(metric="accuracy", value=0.875, n=200, standard_error=0.0234, scale="proportion"), "87.5 ± 2.3%"),
        (Score(metric="perplexity", scale="number", value=3.14159, n=9, standard_error=0.5), "3.14 ± 0.50"),
        (Score(metric="perplexity", scale="number", value=3.14159, n=1, standard_error=None), "3.14"),
        (Score(metric="accuracy", value=None, n=0, standard_error=None), "-"),
        (None, "-"),
        (
            Score(metric="accuracy", value=1.0, n=24, standard_error=0.0, low=0.862, high=1.0, scale="proportion"),
            "100.0% (86.2 to 100.0)",  # 24 of 24 right have no error, and are no certainty
        ),
        (
            Score(metric="accuracy", value=1.0, n=1, standard_error=None, low=0.207, high=1.0, scale="proportion"),
            "100.0% (20.7 to 100.0)",  # one row has no error at all
        ),
    ],
)
def test_a_score_is_shown_with_its_error(score, shown):
    assert tables.score_text(score) == shown


def test_the_next_command_is_of_the_same_recipe():
    words = command_line("train", Path("my recipes/a.yaml"), ["train.epochs=3", "train.method.name=ia3"], "--force")
    assert words == ("tunesmith train 'my recipes/a.yaml' --set train.epochs=3 --set train.method.name=ia3 --force")
    assert command_line("gate", Path("a.yaml"), None) == "tunesmith gate a.yaml"


def test_after_a_gate_that_did_not_pass_the_way_on_is_said():
    flags = GateFlags(Path("a.yaml"), changes=["train.epochs=3"])
    open_verdict = Verdict(rule="min_score(tuned accuracy at least 90.0%)", outcome="inconclusive", reason="few rows")
    lines = list(_next(Decision(report_digest="d", verdicts=(open_verdict,)), flags))
    assert lines == [
        "answer for it: tunesmith gate a.yaml --set train.epochs=3 --waive min_score --reason TEXT --by NAME",
        "or give it more held-out rows, and: tunesmith run a.yaml --set train.epochs=3",
        "next: tunesmith release a.yaml --set train.epochs=3  (registers it; the alias stays where it is)",
    ]
    passed = open_verdict.model_copy(update={"outcome": "pass"})
    assert list(_next(Decision(report_digest="d", verdicts=(passed,)), flags)) == [
        "next: tunesmith release a.yaml --set train.epochs=3"
    ]


def test_the_contestants_stand_in_one_table():
    lines = text_of(tables.contestants_table(REPORT)).splitlines()
    assert "200 held-out test rows" in lines[0]
    assert [line.split() for line in lines[1:]] == [
        ["base", "tuned"],
        ["accuracy", "-", "87.5", "±", "2.0%"],
        ["perplexity", "3.14", "±", "0.50", "3.14", "±", "0.50"],
        ["tokens", "per", "answer", "4.2", "4.2"],
        ["latency,", "1", "at", "once", "82", "ms", "82", "ms"],
    ]


def test_a_figure_of_some_of_the_rows_says_of_how_many():
    some = Score(metric="accuracy", value=0.5, n=2, unscored=7, standard_error=0.5, scale="proportion")
    ours = contestant("tuned", 0.5).model_copy(update={"scores": {"accuracy": some}})
    shown = text_of(tables.contestants_table(REPORT.model_copy(update={"contestants": (ours,)})))
    assert "50.0 ± 50.0%, n = 2" in shown


def test_a_paired_difference_is_one_row():
    row = text_of(tables.comparisons_table(REPORT, {"tuned"})).splitlines()[2]
    assert " ".join(row.split()) == ("tuned - base accuracy +40.5 points +33.0 to +48.0 0.00012 0.00048 8.1 90 / 9")


def test_confused_pairs_leave_out_what_was_right():
    table = tables.confusion_table(REPORT.contestants[1])
    rows = text_of(table).splitlines()[2:]
    assert [row.split() for row in rows] == [["atm", "(no", "known", "label)", "7"], ["fee", "refund", "2"]]
    assert tables.confusion_table(REPORT.contestants[1].model_copy(update={"confusions": ()})) is None


def test_verdicts_and_the_outcome():
    decision = Decision(
        report_digest="r",
        verdicts=(
            Verdict(rule="beats", outcome="pass", reason="better"),
            Verdict(rule="max_invalid", outcome="inconclusive", reason="about 40 more rows"),
        ),
    )
    assert text_of(*tables.verdict_lines(decision)).splitlines() == [
        "pass         beats: better",
        "inconclusive max_invalid: about 40 more rows",
        "gate: inconclusive",
    ]


def test_the_ledger_says_where_every_row_went():
    ledger = Ledger(
        rows_in=10,
        rows_used=9,
        tokens_in=100,
        tokens_used=92,
        drops=(Drop(reason="duplicate", rows=1, tokens=8, where=("a.csv:3",)),),
    )
    checks = (Check(name="a", passed=True, checked=9), Check(name="b", passed=False, checked=9))
    manifest = DatasetManifest(
        digest="0123456789abcdef",
        sources=(),
        splits={"train": SplitStatistics(rows=9, tokens=92, trained_tokens=12, longest=20, labels={"fee": 9})},
        ledger=ledger,
        proof=RenderingProof(template_digest="t", tokenizer_digest="k", checks=checks),
    )
    assert list(tables.ledger_lines(manifest)) == [
        "10 rows read, 9 used, 1 dropped",
        "  1 rows, 8 tokens: duplicate (a.csv:3)",
        "rendering: 1 of 2 checks held (training = evaluation = serving)",
    ]
    assert text_of(tables.dataset_table(manifest)).splitlines()[2].split() == ["train", "9", "92", "12", "20", "1"]


def test_trained_and_untrained_tokens_have_two_colours():
    rendered = Rendered(token_ids=(0, 1, 2), loss_weights=(0.0, 0.0, 1.0), spans=())
    text = two_colours(rendered, lambda token_id: f"t{token_id}")
    assert text.plain == "t0·t1·t2·"
    assert [(span.start, span.end, span.style) for span in text.spans] == [
        (0, 3, "dim"),
        (3, 6, "dim"),
        (6, 9, "bold green"),
    ]


def test_a_task_of_unknown_length_claims_no_number(capsys):
    with RichProgress().task("reading", 0) as task:
        task.advance(5)
    assert capsys.readouterr().err == "reading\n"


def test_progress_without_a_terminal_is_a_line_per_task(capsys):
    progress = RichProgress()
    with progress.task("training", 3, "step") as task:
        task.advance(2, loss=0.123456)
        progress.say("half way")
        progress.say("half way")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["training (3 steps)", "half way"]


def test_progress_on_a_terminal_is_a_bar_with_its_figures(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    progress = RichProgress()
    with progress.task("training", 3, "step") as outer:
        outer.advance(3, loss=0.123456, note="ok")
        with progress.task("validating", 1):
            pass
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "3/3" in shown.err
    assert "loss 0.1235  note ok" in shown.err


def test_the_doctor_says_what_the_sandbox_cannot_enforce(monkeypatch):
    async def nothing():
        return Isolation(files=False, calls=True)

    monkeypatch.setattr(sandbox, "isolation", nothing)
    found = doctor._sandbox()
    assert (found.name, found.state) == ("grader sandbox", "missing")
    assert "no Landlock here" in found.detail

    async def broken():
        raise sandbox.SandboxBroken("it ended with code 1")

    monkeypatch.setattr(sandbox, "isolation", broken)
    assert "it ended with code 1" in doctor._sandbox().detail


def test_the_doctor_finds_this_machine_fit_and_speaks_json(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert result.exit_code == 0, found
    assert found["torch"]["state"] == "ok"
    assert found["base models"]["fix"] == "the first tunesmith run does it"
    assert "ok" in CliRunner().invoke(app, ["doctor"]).stdout
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    found = {finding.name: finding for finding in doctor.findings(Settings(home=tmp_path / "file" / "home"))}
    assert found["home folder"].state == "broken"
    assert "TUNESMITH_HOME" in found["home folder"].fix


def test_a_torchvision_of_another_torch_is_named(tmp_path, monkeypatch):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (tmp_path / "torchvision-0.1.dist-info").mkdir()
    (tmp_path / "torchvision-0.1.dist-info" / "METADATA").write_text("Name: torchvision\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    finding = doctor._torchvision()
    assert (finding.state, finding.fix) == ("broken", "pip uninstall torchvision")
    assert "nms does not exist" in finding.detail


@pytest.mark.parametrize(
    ("flags", "detail"),
    [
        ("fpu avx2 avx512f avx512_bf16", "avx2, avx512f, avx512_bf16; bfloat16 is native"),
        ("fpu avx2", "avx2; no native bfloat16, float32 is the fast type"),
        ("fpu", "none of the fast sets; no native bfloat16, float32 is the fast type"),
    ],
)
def test_instruction_sets(tmp_path, flags, detail):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    assert doctor._instruction_sets(tmp_path / "cpuinfo").detail == detail
    assert "float32 works everywhere" in doctor._instruction_sets(Path("/nowhere")).detail


def test_absent_packages_are_broken_when_needed_and_missing_when_optional():
    assert doctor._package("tunesmith-nothing").state == "broken"
    optional = doctor._optional("tunesmith-nothing", "does nothing", "pip install it")
    assert (optional.state, optional.fix) == ("missing", "pip install it")
