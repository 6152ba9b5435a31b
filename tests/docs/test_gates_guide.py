"""docs/gates.md: every rule has a line that loads, and its claims about exit codes and files are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tunesmith import plugins
from tunesmith.cli.options import read_recipe
from tunesmith.gate.stage import FOLDER, exit_code, load_rule
from tunesmith.release.papers import CARD_FILE, CHECKLIST_FILE
from tunesmith.store.home_key import KEY_FILE
from tunesmith.types.decision import Verdict
from tunesmith.types.gate import GateFacts
from tunesmith.types.recipe import PluginSpec
from tunesmith.types.report import EvaluationReport

GUIDE = (Path(__file__).parents[2] / "docs" / "gates.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.S) for line in block.splitlines()]
SPECS = [PluginSpec.model_validate(YAML(typ="safe").load(line)[0]) for line in LINES]


def test_every_rule_has_a_line() -> None:
    assert sorted({spec.name for spec in SPECS}) == list(plugins.names(FOLDER))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_line_of_a_rule_loads(spec: PluginSpec) -> None:
    rule = load_rule(spec)
    assert rule.reads().suite == spec.options.get("suite", "")


def test_the_gate_of_the_guide_to_safety_is_accepted(tmp_path: Path) -> None:
    safety = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")
    (part,) = re.findall(r"<!-- part: gate -->\n```yaml\n(.*?)```", safety, flags=re.S)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "n.yaml").write_text("name: n\nprepare: {sources: [{path: rows.jsonl}]}\nrelease: {name: n}\n" + part)
    assert len(read_recipe(tmp_path / "n.yaml", None).gate.rules) == 4


def test_facts_that_nobody_knows_are_inconclusive_as_the_guide_says() -> None:
    report = EvaluationReport(dataset_digest="d", split="test", rows=1, labels=(), contestants=(), comparisons=())
    verdicts: list[Verdict] = [
        load_rule(spec).judge(report, GateFacts())
        for spec in SPECS
        if spec.name in ("contamination", "licence", "size")
    ]
    assert [verdict.outcome for verdict in verdicts] == ["inconclusive"] * 3


def test_exit_codes_and_files_are_those_of_the_guide() -> None:
    codes = dict(re.findall(r"^\| (pass|fail|inconclusive) \|.*\| (\d) \|$", GUIDE, flags=re.M))
    assert codes == {"pass": "0", "fail": "1", "inconclusive": "3"}
    assert all(exit_code(outcome) == int(code) for outcome, code in codes.items())
    for name in (KEY_FILE, CARD_FILE, CHECKLIST_FILE):
        assert f"`{name}`" in GUIDE
