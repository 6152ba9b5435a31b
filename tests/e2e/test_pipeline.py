"""The whole product on the tiny model: a labelled file in, a released and reported adapter out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.lines import Lines
from tunesmith import pipeline
from tunesmith.cli.main import app
from tunesmith.errors import RecipeError
from tunesmith.models.adapter import adapter_digest
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.release.registry import Registry
from tunesmith.settings import Settings
from tunesmith.types.gate import GateFacts

ROOT = Path(__file__).parents[2]
RECIPE = """
name: colours
model: {{base: {base}}}
prepare:
  sources:
    - {{path: rows.csv, columns: {{prompt: question, completion: answer}}}}
  split: {{validation: 0.15, test: 0.3}}
  system: "One of: {{labels}}"
train:
  method: {{name: lora, rank: 8, last_layers: 1}}
  epochs: 4
  batch_size: 4
  learning_rate: 0.02
  trackers: [{{name: tensorboard}}]
evaluate: {{max_new_tokens: 6, concurrency: 4, suites: [general.yaml]}}
gate:
  rules:
    - {{name: min_score, model: tuned, metric: accuracy, at_least: 0.9}}
    - {{name: beats, model: tuned, baseline: base, metric: accuracy}}
    - {{name: max_invalid, model: tuned, at_most: 0.3}}
release: {{name: colours}}
"""


SUITE = """
suite: general
metrics: [exact_match, perplexity]
max_new_tokens: 6
items:
  - {type: qa, question: cold 12, answer: blue}
  - {type: qa, question: warm 13, answer: red}
  - {type: qa, question: What is the capital of France?, answer: Paris}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    folder = tmp_path_factory.mktemp("project")
    rows = [f"{'warm' if i % 2 else 'cold'} {i},{'red' if i % 2 else 'blue'}" for i in range(60)]
    (folder / "rows.csv").write_text("question,answer\n" + "\n".join(rows) + "\n")
    (folder / "recipe.yaml").write_text(RECIPE.format(base=tiny))
    (folder / "general.yaml").write_text(SUITE)
    return folder


@pytest.fixture(scope="module")
def outcome(project: Path) -> pipeline.Outcome:
    return run(project)


def run(project: Path, changes: Mapping[str, str] | None = None, progress: Silent | None = None) -> pipeline.Outcome:
    recipe = load_recipe(project / "recipe.yaml", changes or {})
    return pipeline.run(recipe, project, Settings(home=project / "home"), progress or Silent())


@pytest.mark.slow
def test_every_row_is_accounted_for_and_every_stage_leaves_its_evidence(outcome: pipeline.Outcome) -> None:
    ledger = outcome.dataset.ledger
    assert ledger.rows_in == 60
    assert ledger.rows_used + sum(drop.rows for drop in ledger.drops) == 60
    assert outcome.dataset.proof.passed
    assert [contestant.name for contestant in outcome.report.contestants] == ["base", "prompt_only", "tuned"]
    assert len(outcome.decision.verdicts) == 3
    place = Path(outcome.run.path)
    for name in ("recipe.yaml", "environment.json", "dataset.json", "metrics.jsonl", "checks.json", "report.md"):
        assert (place / name).stat().st_size > 0, name
    assert list((place / "tensorboard").iterdir())
    assert "colours" in outcome.report_path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_same_contestants_answer_the_recipe_s_suites(outcome: pipeline.Outcome, project: Path) -> None:
    report = outcome.report.suites["general"]
    assert [each.name for each in report.contestants] == ["base", "prompt_only", "tuned"]
    tuned, before = report.contestant("tuned"), report.contestant("prompt_only")
    assert [row.answer for row in tuned.predictions[:2]] == ["blue", "red"]
    assert tuned.system_prompt
    assert not report.contestant("base").system_prompt
    assert all(row.reference_tokens > 3 for row in tuned.predictions)
    assert (tuned.scores["perplexity"].value or 0) != before.scores["perplexity"].value
    page = outcome.report_path.read_text()
    assert "What else changed" in page
    assert "general" in page
    kept = [line for file in (project / "home" / "answers").iterdir() for line in file.read_text().splitlines()]
    assert sum('"key"' in line for line in kept) == 3 * 3 * 2  # contestants, items, answer and scored reference


@pytest.mark.slow
def test_the_release_holds_the_very_adapter_that_was_trained(outcome: pipeline.Outcome, project: Path) -> None:
    registry = Registry(project / "home")
    release = registry.get("colours@v1")
    registry.close()
    assert release.adapter_digest == outcome.run.adapter_digest == adapter_digest(Path(release.adapter_path))
    assert release.outcome == outcome.decision.outcome
    assert release.system_prompt == "One of: blue, red"
    # Greedy answers need no more room than the evaluation gave them.
    assert release.max_new_tokens == 6


@pytest.mark.slow
def test_a_second_run_reuses_everything(outcome: pipeline.Outcome, project: Path) -> None:
    lines = Lines()
    again = run(project, progress=lines)
    assert (again.run, again.report, again.decision) == (outcome.run, outcome.report, outcome.decision)
    assert again.release.version == 1
    assert {line.split()[0] for line in lines.said} <= {"dataset", "reusing"}


@pytest.mark.slow
def test_another_gate_judges_the_same_evaluation_anew(outcome: pipeline.Outcome, project: Path) -> None:
    changed = run(project, {"gate.rules.2.at_most": "0.9"})
    assert changed.report == outcome.report
    assert changed.decision.content_digest() != outcome.decision.content_digest()


@pytest.mark.slow
def test_a_rule_of_facts_is_judged_and_waived_for_these_figures_only(
    outcome: pipeline.Outcome, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(project / "home"))

    def gate(rule: str, *words: str) -> tuple[int, str]:
        result = CliRunner().invoke(
            app, ["gate", str(project / "recipe.yaml"), "--set", f"gate.rules=[{rule}]", *words]
        )
        return result.exit_code, result.output

    facts = GateFacts.model_validate_json((Path(outcome.run.path) / "facts.json").read_text())
    files = [path for path in Path(outcome.release.adapter_path).rglob("*") if path.is_file()]
    assert facts.adapter_bytes == sum(path.stat().st_size for path in files)
    assert facts.licences == {"": outcome.dataset.splits["train"].rows}
    assert [leak.where for leak in facts.leaks or ()] == ["validation", "test", *outcome.report.suites]
    assert gate("{name: licence, allowed: [MIT]}")[0] == 3
    assert gate("{name: size, megabytes: 0.001}")[0] == 1
    code, said = gate("{name: size, megabytes: 0.001}", "--waive", "size", "--reason", "a test", "--by", "Ann Lee")
    assert (code, "Waived by Ann Lee" in said, "pass (waived)" in said) == (0, True, True)
    assert gate("{name: size, megabytes: 0.001}")[0] == 0
    code, said = gate("{name: size, megabytes: 0.002}")
    assert (code, "does not count: the verdict is another one now" in said) == (1, True)
    assert gate("{name: size, megabytes: 0.002}", "--by", "Ann Lee")[0] == 2
    assert outcome.release.reference in (Path(outcome.release.adapter_path).parent / "README.md").read_text()


@pytest.mark.slow
def test_the_stored_recipe_can_be_run_again(outcome: pipeline.Outcome, project: Path) -> None:
    copy = project / "again.yaml"
    copy.write_text((Path(outcome.run.path) / "recipe.yaml").read_text())
    again, written = load_recipe(copy), load_recipe(project / "recipe.yaml")
    assert (again.prepare, again.train, again.evaluate) == (written.prepare, written.train, written.evaluate)


def test_an_option_that_nothing_reads_refuses_the_run() -> None:
    from tunesmith.types.recipe import TrainSpec

    with pytest.raises(RecipeError, match=r"train\.patience: was accepted but not applied"):
        pipeline._every_option_applied("train", TrainSpec(), lambda spec: read_all_but_patience(spec))


def read_all_but_patience(spec: object) -> None:
    for name in type(spec).model_fields:
        value = getattr(spec, name) if name != "patience" else ()
        for part in value if isinstance(value, tuple) else (value,):
            if hasattr(part, "options"):
                assert part.name
                assert isinstance(part.options, dict)


RECIPES = sorted(path for path in (ROOT / "examples").rglob("*.yaml") if path.stem != "suite")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_shipped_recipes_are_acceptable(path: Path) -> None:
    if path.stem == "banking77" and not (ROOT.parent / "shared" / "data" / "banking77").is_dir():
        pytest.skip("the recipe's data is not part of this repository")
    assert load_recipe(path).release.name


def test_the_disputes_are_twelve_balanced_categories_without_overlap() -> None:
    folder = ROOT / "examples" / "disputes"
    rows = {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("train", "test")
    }
    labels = {row["category"] for row in rows["train"]}
    assert len(labels) == 12
    assert labels == {row["category"] for row in rows["test"]}
    assert len(rows["train"]) >= 600
    assert len(rows["test"]) >= 180
    texts = [" ".join(row["complaint"].casefold().split()) for row in rows["train"] + rows["test"]]
    assert len(set(texts)) == len(texts)
