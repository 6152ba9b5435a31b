"""What is kept with a release: everything that was known when it was made. None where nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tunesmith.release.waivers import fault_of
from tunesmith.store.home_key import home_key
from tunesmith.store.values import read_value
from tunesmith.types.dataset import DatasetManifest
from tunesmith.types.decision import Decision, Waiver
from tunesmith.types.gate import GateFacts
from tunesmith.types.parity import PARITY_FILE, ParityCertificate
from tunesmith.types.release import Release
from tunesmith.types.report import Contestant, EvaluationReport
from tunesmith.types.run import RunRecord

__all__ = [
    "DECISION_FILE",
    "ENVIRONMENT_FILE",
    "FACTS_FILE",
    "RECIPE_FILE",
    "Evidence",
    "flat",
    "read_evidence",
    "waiver_faults",
]

DECISION_FILE = "decision.json"
FACTS_FILE = "facts.json"
RECIPE_FILE = "recipe.yaml"
ENVIRONMENT_FILE = "environment.json"


class Evidence(NamedTuple):
    """A release and what was found of it. `recipe` is the effective one, `faults` why a waiver does not count (by its
    signature).
    """

    release: Release
    run: RunRecord | None = None
    report: EvaluationReport | None = None
    decision: Decision | None = None
    dataset: DatasetManifest | None = None
    facts: GateFacts | None = None
    certificate: ParityCertificate | None = None
    recipe: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] | None = None
    faults: Mapping[str, str] | None = None

    @property
    def tuned(self) -> Contestant | None:
        """The contestant that is the released model."""
        found = self.report.contestants if self.report else ()
        return next((each for each in found if each.adapter_digest == self.release.adapter_digest), None)

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the preparation's steps."""
        return tuple(step["name"] for step in (self.recipe or {}).get("prepare", {}).get("steps", ()))

    def suites(self) -> Iterator[tuple[str, EvaluationReport, Contestant]]:
        """(name, report, the released model in it) of every suite that it answered."""
        name = self.tuned.name if self.tuned else ""
        for suite, report in (self.report.suites if self.report else {}).items():
            for contestant in report.contestants:
                if contestant.name == name:
                    yield suite, report, contestant


def read_evidence(release: Release, home: Path) -> Evidence:
    """The evidence in the release's folder, the one above its adapter."""
    folder = Path(release.adapter_path).parent
    decision = read_value(folder / DECISION_FILE, Decision)
    environment, recipe = folder / ENVIRONMENT_FILE, folder / RECIPE_FILE
    return Evidence(
        release=release,
        run=read_value(folder / "run.json", RunRecord),
        report=read_value(folder / "report.json", EvaluationReport),
        decision=decision,
        dataset=read_value(folder / "dataset.json", DatasetManifest),
        facts=read_value(folder / FACTS_FILE, GateFacts),
        certificate=read_value(folder / PARITY_FILE, ParityCertificate),
        recipe=YAML(typ="safe").load(StringIO(recipe.read_text("utf-8"))) if recipe.is_file() else None,
        environment=json.loads(environment.read_text("utf-8")) if environment.is_file() else None,
        faults=waiver_faults(decision.waivers if decision else (), home),
    )


def waiver_faults(waivers: tuple[Waiver, ...], home: Path) -> dict[str, str]:
    """Signature -> why the waiver does not count today, of those that do not."""
    if not waivers:
        return {}
    key, now = home_key(home), datetime.now(UTC)
    return {waiver.signature: fault for waiver in waivers if (fault := fault_of(waiver, key, now))}


def flat(content: object, name: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, value as JSON) of every value in nested mappings and lists."""
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, list) and content:
        for index, value in enumerate(content):
            yield from flat(value, f"{name}.{index}")
    else:
        yield name, json.dumps(content, ensure_ascii=False)
