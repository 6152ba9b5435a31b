"""tunesmith gate --report: rules on a stored evaluation, on its suites and on their slices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.errors import NotFound, RecipeError
from tunesmith.evaluate.analysis.slices import slice_names, sliced
from tunesmith.evaluate.compare import compare_all
from tunesmith.evaluate.report.suite_files import write_evaluation
from tunesmith.evaluate.scoring import class_scores, confusions, score
from tunesmith.gate.stage import judge
from tunesmith.judging import narrowed
from tunesmith.recipes import load_rules
from tunesmith.types.gate import GateFacts
from tunesmith.types.recipe import GateSpec
from tunesmith.types.report import Contestant, EvaluationReport, Prediction

LABELS = ("cat", "dog")
METRICS = ("accuracy", "tokens_per_answer")


def contestant(name: str, right: set[int], rows: int = 80) -> Contestant:
    """Even rows are English and odd ones German; row n is answered with the right label where n is in `right`."""
    made = tuple(
        Prediction(
            example_id=f"i{n}", reference="cat", answer="cat" if n in right else "dog",
            label="cat" if n in right else "dog", tokens=4, seconds=0.5, first_token_seconds=0.1, finish_reason="stop",
            tags={"language": "de" if n % 2 else "en"},
        )
        for n in range(rows)
    )  # fmt: skip
    return Contestant(
        name=name, model=name, adapter_digest=None, system_prompt=False, tokens_per_answer=4,
        latency_median_seconds=0.5, predictions=made, classes=class_scores(made, LABELS),
        confusions=confusions(made, LABELS), scores={each: score(each, made, LABELS, 0.95) for each in METRICS},
    )  # fmt: skip


def report(suite: str) -> EvaluationReport:
    """ "old" is right on no row; "new" on every English one and no German one."""
    contestants = (contestant("old", set()), contestant("new", set(range(0, 80, 2))))
    return EvaluationReport(
        dataset_digest=suite, split=suite, rows=80, labels=LABELS, contestants=contestants,
        comparisons=compare_all(contestants, LABELS, 0.95), questions={f"i{n}": "Which?" for n in range(80)},
    )  # fmt: skip


PETS = report("pets")


def stored(folder: Path, *reports: EvaluationReport) -> Path:
    for each in reports:
        write_evaluation(each, folder)
    return folder


def rules(folder: Path, *written: str) -> str:
    path = folder / "rules.yaml"
    path.write_text("rules:\n" + "".join(f"  - {{name: {each}, model: new}}\n" for each in written))
    return str(path)


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["gate", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("beats, baseline: old", 0),
        ("min_score, at_least: 0.9", 1),
        ("min_score, at_least: 0.5", 3),
        ("min_score, at_least: 0.9, slice: language=en", 0),
        ("min_score, at_least: 0.1, slice: language=de", 1),
        ("beats, baseline: old, slice: language=en", 0),
        ("no_regression, baseline: old, margin: 0.1, slice: language=de", 0),
        ("no_regression, baseline: old, slice: language=de", 3),  # too few rows to rule out a loss of 2 points
    ],
)
def test_the_exit_code_is_the_outcome(tmp_path: Path, rule: str, code: int) -> None:
    folder = stored(tmp_path / "results", PETS)
    found, out, _ = call(rules(tmp_path, rule), "--report", str(folder))
    assert found == code
    assert f"gate: {({0: 'pass', 1: 'fail', 3: 'inconclusive'})[code]}" in out
    assert "next:" not in out


def test_one_file_of_the_folder_will_do(tmp_path: Path) -> None:
    stored(tmp_path, PETS, report("plants"))
    path = rules(tmp_path, "beats, baseline: old")
    code, out, _ = call(path, "--report", str(tmp_path / "pets.evaluation.json"), "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["outcome"], found["report_digest"] != "") == ("pass", True)
    assert json.loads((tmp_path / "decision.json").read_text())["verdicts"] == found["verdicts"]


def test_of_several_suites_a_rule_names_one(tmp_path: Path) -> None:
    folder = stored(tmp_path / "results", PETS, report("plants"))
    code, _, said = call(rules(tmp_path, "beats, baseline: old"), "--report", str(folder))
    assert code == 1
    assert "names no suite" in said
    assert "allowed: pets, plants" in said
    code, out, _ = call(rules(tmp_path, "beats, baseline: old, suite: plants"), "--report", str(folder))
    assert code == 0
    assert "in suite plants" in out


def test_all_that_the_evaluation_lacks_is_said_at_once(tmp_path: Path) -> None:
    folder = stored(tmp_path / "results", PETS)
    path = rules(
        tmp_path, "beats, baseline: olde", "min_score, at_least: 0.5, metric: acuracy",
        "min_score, at_least: 0.5, slice: language=d", "min_score, at_least: 0.5, suite: pet",
    )  # fmt: skip
    code, _, said = call(path, "--report", str(folder))
    assert code == 1
    for word in ("old", "accuracy", "language=de", "pets"):
        assert f"did you mean '{word}'?" in said
    assert not (folder / "decision.json").exists()


def test_a_waiver_of_a_stored_evaluation_counts_until_it_changes(tmp_path: Path) -> None:
    folder = stored(tmp_path / "results", PETS)
    path = rules(tmp_path, "min_score, at_least: 0.9")
    why = ("--waive", "min_score", "--reason", "only English is on sale", "--by", "Ann")
    assert call(path, "--report", str(folder), *why)[0] == 0
    assert call(path, "--report", str(folder))[0] == 0  # it is stored beside the evaluation
    assert call(path, "--report", str(folder), "--set", "rules.0.at_least=0.95")[0] == 1  # another verdict


def test_what_nobody_knows_of_a_stored_evaluation_is_inconclusive(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - {name: licence, allowed: [MIT]}\n")
    assert call(str(path), "--report", str(stored(tmp_path / "results", PETS)))[0] == 3


def test_a_recipe_gives_its_rules(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    path = tmp_path / "recipe.yaml"
    text = "name: n\nprepare: {sources: [{path: rows.jsonl}]}\nrelease: {name: n}\n"
    path.write_text(text + "gate: {rules: [{name: beats, model: tuned, baseline: base}]}\n")
    old, new = PETS.contestants
    named = (old.model_copy(update={"name": "base"}), new.model_copy(update={"name": "tuned"}))
    found = PETS.model_copy(update={"contestants": named, "comparisons": compare_all(named, LABELS, 0.95)})
    code, out, said = call(str(path), "--report", str(stored(tmp_path / "results", found)))
    assert (code, said) == (0, "")
    assert "beats(tuned over base in accuracy)" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: []\n", "there is no rule to judge by"),
        ("rules:\n  - {name: beat}\n", "rules.yaml:2: rules.0.name: 'beat' is not known -> did you mean 'beats'?"),
        ("rules:\n  - {name: beats, slice: german}\n", "rules.0.slice"),
        ("rules: []\nprepare: {}\n", "there is no such field"),
    ],
)
def test_a_file_of_rules_is_checked_line_by_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_rules(path)
    assert said in str(caught.value)


def test_what_is_no_evaluation_is_said(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("[]")
    code, _, said = call(rules(tmp_path, "beats"), "--report", str(tmp_path / "report.json"))
    assert code == 1
    assert "There is no evaluation in" in said
    assert "*.evaluation.json" in said


def test_a_slice_is_measured_anew() -> None:
    english = sliced(PETS, "language=en")
    assert (english.rows, len(english.questions)) == (40, 40)
    assert {each.name: each.scores["accuracy"].value for each in english.contestants} == {"old": 0.0, "new": 1.0}
    assert english.contestant("new").confusions[0].count == 40
    (pair,) = [each for each in english.comparisons if each.metric == "accuracy"]
    assert (pair.n, pair.won, pair.lost, pair.difference) == (40, 40, 0, 1.0)
    rows = PETS.contestants[0].predictions
    assert slice_names(rows, ["Which?"] * 80, LABELS) == (
        "language=de", "language=en", "length=up to 20 words", "label=cat",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "nearest"), [("language=fr", "language="), ("langage=de", "language=..."), ("de", "language=...")]
)
def test_an_unknown_slice_is_refused_with_what_there_is(name: str, nearest: str) -> None:
    with pytest.raises(NotFound, match="no slice") as caught:
        sliced(PETS, name)
    assert nearest in (caught.value.hint or "")


def test_rules_on_slices_and_on_all_rows_share_one_digest() -> None:
    def spec(**more: Any) -> GateSpec:
        rule = {"name": "min_score", "metric": "accuracy", "model": "new", "at_least": 0.9, **more}
        return GateSpec.model_validate({"rules": [rule]})

    everywhere, english = (
        judge(spec(), PETS, GateFacts()),
        judge(spec(slice="language=en"), PETS, GateFacts(), narrowed),
    )
    assert everywhere.report_digest == english.report_digest == PETS.content_digest()
    assert english.verdicts[0].rule == "min_score(new accuracy at least 90.0% on language=en)"
    assert (everywhere.outcome, english.outcome) == ("fail", "pass")
    with pytest.raises(RecipeError, match="were not measured"):
        judge(spec(slice="language=en"), PETS, GateFacts())
    within = EvaluationReport(
        dataset_digest="d", split="test", rows=0, labels=(), contestants=(), comparisons=(), suites={"pets": PETS}
    )
    found = judge(spec(suite="pets", slice="language=en"), within, GateFacts(), narrowed)
    assert found.verdicts[0].rule == "min_score(new accuracy at least 90.0% in suite pets on language=en)"
    assert found.outcome == "pass"
