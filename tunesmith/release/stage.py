"""release: a judged run becomes an immutable version, and the alias moves to it only when the gate passed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tunesmith.errors import EvaluationError
from tunesmith.release.evidence import DECISION_FILE, ENVIRONMENT_FILE, FACTS_FILE, RECIPE_FILE
from tunesmith.release.papers import write_card
from tunesmith.release.registry import now, open_registry
from tunesmith.release.waivers import fault_of
from tunesmith.settings import Settings
from tunesmith.store.home_key import home_key
from tunesmith.store.values import read_value
from tunesmith.types.base import Value
from tunesmith.types.dataset import DatasetManifest
from tunesmith.types.decision import Decision
from tunesmith.types.parity import PARITY_FILE, ParityCertificate
from tunesmith.types.recipe import ReleaseSpec
from tunesmith.types.release import Release
from tunesmith.types.report import EvaluationReport
from tunesmith.types.run import RunRecord

__all__ = ["ADAPTER_FOLDER", "release"]

ADAPTER_FOLDER = "adapter"


def release(
    spec: ReleaseSpec,
    *,
    run: RunRecord,
    report: EvaluationReport,
    decision: Decision,
    manifest: DatasetManifest,
    settings: Settings,
) -> Release:
    """Register the adapter in `run.path`/adapter with its evidence under the next version of `spec.name`.

    The alias moves when the decision is "pass", if need be with waivers. Otherwise the release is registered with its
    outcome and the alias stays; `Registry.move_alias` moves it by hand. Registering the same content again changes
    nothing.

    The run's parity certificate (`tunesmith.parity.certify` puts it beside the run) is part of the evidence. The model
    card (README.md) and the release checklist are written beside the adapter.

    Raises:
        EvaluationError: run, report, decision, dataset and certificate do not belong together, or there is none; a
            waiver is forged or over.
        ModelError: the run's adapter is missing or was changed since.
    """
    _require_one_story(run, report, decision, manifest)
    _require_true_waivers(decision, settings.home)
    certificate = _certificate(run)
    draft = Release(
        name=spec.name,
        base=run.base,
        base_digest=run.base_digest,
        adapter_digest=run.adapter_digest,
        template_digest=run.template_digest,
        dataset_digest=run.dataset_digest,
        report_digest=report.content_digest(),
        decision_digest=decision.content_digest(),
        outcome=decision.outcome,
        run=run.id,
        system_prompt=manifest.system_prompt if spec.impose_system else None,
        max_new_tokens=spec.max_new_tokens or report.max_new_tokens,
        created=now(),
    )
    registry = open_registry(settings)
    try:
        evidence: dict[str, Value | str] = {
            "run.json": run,
            "report.json": report,
            DECISION_FILE: decision,
            "dataset.json": manifest,
            PARITY_FILE: certificate,
            **_texts(Path(run.path)),
        }
        registered, _ = registry.register(draft, Path(run.path) / ADAPTER_FOLDER, evidence)
        if decision.passed:
            registry.move_alias(spec.name, spec.alias, registered.version)
        write_card(registered, registry, settings.home)
    finally:
        registry.close()
    return registered


def _texts(place: Path) -> dict[str, str]:
    """What the run's folder says of its recipe, its machine and what the gate knew, where it is there."""
    names = (RECIPE_FILE, ENVIRONMENT_FILE, FACTS_FILE)
    return {name: (place / name).read_text(encoding="utf-8") for name in names if (place / name).is_file()}


def _certificate(run: RunRecord) -> ParityCertificate:
    found = read_value(Path(run.path) / PARITY_FILE, ParityCertificate)
    if found is None or found.adapter_digest != run.adapter_digest:
        raise EvaluationError(
            "Cannot release: nothing certifies that what serves this adapter computes what was trained.",
            hint="Make the certificate and release: tunesmith run RECIPE",
        )
    return found


def _require_true_waivers(decision: Decision, home: Path) -> None:
    for waiver in decision.waivers:
        if fault := fault_of(waiver, home_key(home), datetime.now(UTC)):
            raise EvaluationError(
                f"Cannot release: the waiver of {waiver.rule} by {waiver.by} does not count: {fault}.",
                hint="Judge the run again: tunesmith gate RECIPE",
            )


def _require_one_story(run: RunRecord, report: EvaluationReport, decision: Decision, manifest: DatasetManifest) -> None:
    pairs = {
        "the run's dataset and the prepared dataset": (run.dataset_digest, manifest.digest),
        "the report's dataset and the run's dataset": (report.dataset_digest, run.dataset_digest),
        "the decision's report and the report": (decision.report_digest, report.content_digest()),
    }
    tuned = {contestant.adapter_digest for contestant in report.contestants} - {None}
    if tuned:
        pairs["the evaluated adapter and the run's adapter"] = (",".join(sorted(map(str, tuned))), run.adapter_digest)
    for what, (left, right) in pairs.items():
        if left != right:
            raise EvaluationError(
                f"Cannot release: {what} differ ({left[:12]} and {right[:12]}).",
                hint="Evaluate and judge this run again: tunesmith run RECIPE",
            )
