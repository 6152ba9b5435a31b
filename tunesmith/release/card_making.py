"""How a release was made: data, treatment of personal data, method, recipe, machine, time and energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.page.markdown import escaped, table
from tunesmith.release.evidence import Evidence, flat

__all__ = ["WATTS_PER_CORE", "made"]

WATTS_PER_CORE = 10.0
"""What one busy processor core is assumed to draw where nothing measures it."""


def made(evidence: Evidence) -> Iterator[str]:
    """The sections, each saying so where nothing is known."""
    yield from _data(evidence)
    yield from _personal_data(evidence)
    yield from _method(evidence)
    yield from _machine(evidence)
    yield from _energy(evidence)


def _data(evidence: Evidence) -> Iterator[str]:
    yield "## Data"
    manifest = evidence.dataset
    if manifest is None:
        yield "Not known: no dataset is stored with this release."
        return
    rows = [(source.path, source.format, f"{source.rows:,}", source.digest[:16]) for source in manifest.sources]
    yield table(("Source", "Format", "Rows", "SHA-256"), rows)
    splits = ", ".join(f"{found.rows:,} {split}" for split, found in manifest.splits.items())
    ledger = manifest.ledger
    yield (
        f"{ledger.rows_in:,} rows read, {ledger.rows_used:,} used ({splits}), {ledger.rows_in - ledger.rows_used:,} "
        f"left out for a named reason. Digest `{manifest.digest}`."
    )
    licences = evidence.facts.licences if evidence.facts else None
    if licences is None:
        yield "Licences: not known, nobody counted them."
    else:
        yield "Licences of the training rows: " + ", ".join(
            f"{count:,} {escaped(licence) if licence else 'name none'}" for licence, count in licences.items()
        )


def _personal_data(evidence: Evidence) -> Iterator[str]:
    yield "## Personal data"
    if evidence.recipe is None:
        yield "Not known: no recipe is stored with this release."
        return
    treated = [
        step for step in _part(evidence.recipe, "prepare").get("steps", ()) if step["name"] in ("pii", "secrets")
    ]
    for step in treated:
        counts = (evidence.dataset.findings if evidence.dataset else {}).get(step["name"], {})
        found = ", ".join(f"{count:,} {escaped(kind)}" for kind, count in counts.items()) or "nothing"
        yield f"- {step['name']}: {step.get('action', 'report')} what is found; found {found}."
    if not treated:
        yield "The data was not searched for personal data or secrets (prepare.steps: \\[pii, secrets\\])."


def _method(evidence: Evidence) -> Iterator[str]:
    yield "## Training"
    run = evidence.run
    if run is None:
        yield "Not known: no run is stored with this release."
    else:
        share = run.trainable_parameters / max(run.total_parameters, 1)
        size = evidence.facts.adapter_bytes if evidence.facts else None
        rows = [
            ("Run", run.id),
            ("Steps", f"{run.steps:,}, best at {run.best_step:,}"),
            ("Trained parameters", f"{run.trainable_parameters:,} ({share:.2%})"),
            ("Adapter", f"{size / 1e6:.2f} MB" if size is not None else "not known"),
            ("Tokens", f"{run.effective_tokens:,}"),
            ("Precision", f"{run.precision} on {run.device}"),
            ("Validation loss", _loss(run.start_validation_loss, run.best_validation_loss)),
            ("Base", f"{run.base} ({run.base_digest[:16]})"),
            *([("Started from", f"{run.start_from} ({run.parent_digest})")] if run.parent_digest else []),
            ("Adapter digest", run.adapter_digest),
        ]
        yield table(("", ""), rows)
    if evidence.recipe is not None:
        yield "### Effective recipe"
        yield table(("Field", "Value"), list(flat(evidence.recipe)))


def _machine(evidence: Evidence) -> Iterator[str]:
    yield "## Environment"
    if evidence.environment is None:
        yield "Not known: it is not stored with this release."
        return
    known = {name: value for name, value in evidence.environment.items() if name not in ("packages", "free_disk_bytes")}
    packages = evidence.environment.get("packages", {})
    yield table(("", ""), [(name, value) for name, value in {**known, **packages}.items() if value])


def _energy(evidence: Evidence) -> Iterator[str]:
    yield "## Time and energy"
    run = evidence.run
    if run is None or not run.processor_seconds:
        clock = f"Training took {run.seconds:,.0f} s on the clock; " if run else ""
        yield f"{clock}processor time and energy are not known."
        return
    watt_hours = run.processor_seconds * WATTS_PER_CORE / 3600
    yield (
        f"Training took {run.seconds:,.0f} s on the clock and {run.processor_seconds:,.0f} s of processor time "
        f"(measured). About {watt_hours:,.2g} Wh: an estimate that assumes {WATTS_PER_CORE:g} W for each busy core and "
        "counts neither GPU, memory, cooling, data preparation nor evaluation."
    )


def _loss(start: float | None, best: float | None) -> str:
    return "not watched" if start is None or best is None else f"{start:.4f} to {best:.4f}"


def _part(recipe: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = recipe.get(stage) or {}
    return found
