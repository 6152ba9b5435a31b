"""Evaluations kept by content: the same models on the same rows, asked the same way, are not measured twice."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from tunesmith import __version__
from tunesmith.errors import EvaluationError
from tunesmith.evaluate.stage import EvaluationInput
from tunesmith.types.base import digest_json
from tunesmith.types.recipe import EvaluateSpec
from tunesmith.types.report import EvaluationReport

__all__ = ["FILE_NAME", "evaluation_digest", "read_report", "write_report"]

FILE_NAME = "evaluation.json"


def evaluation_digest(
    spec: EvaluateSpec, subject: EvaluationInput, *, base_digest: str, template_digest: str, precision: str
) -> str:
    """SHA-256 of all that the outcome depends on: rows, contestants, options, base, template, precision, version."""
    rows = [example.id for example in subject.examples]
    parts = subject.model_dump(mode="json", exclude={"examples"}) | {"rows": rows, "spec": spec.model_dump(mode="json")}
    served = {"base": base_digest, "template": template_digest, "precision": precision, "tunesmith": __version__}
    return digest_json(parts | served)


def write_report(report: EvaluationReport, folder: Path, digest: str) -> Path:
    """Write folder/evaluation.json (through a temporary file, so that a killed run leaves no half of it)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    draft = path.with_suffix(".json.partial")
    content = {"digest": digest, "report": report.model_dump(mode="json")}
    draft.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    draft.replace(path)
    return path


def read_report(folder: Path, digest: str) -> EvaluationReport | None:
    """The stored evaluation if it is the one with `digest`, else None.

    Raises:
        EvaluationError: the file is there but cannot be read.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return EvaluationReport.model_validate(stored["report"]) if stored["digest"] == digest else None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise EvaluationError(f"{path} is damaged: {error}", hint="Delete it to evaluate again.") from error
