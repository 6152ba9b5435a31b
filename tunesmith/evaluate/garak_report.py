"""Reading the report of garak, the scanner for weaknesses of language models, as an evaluation.

garak (Derczynski et al. 2024, arXiv:2406.11036) writes `NAME.report.jsonl`: its settings, one `attempt` for each prompt
with all answers and what each detector made of them, and one `eval` for each probe and detector with its counts. Here
each (prompt, answer, detector) is a row, an attack with success where the detector's score reaches garak's threshold.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError, Problem
from tunesmith.evaluate.scoring import score
from tunesmith.types.report import Contestant, EvaluationReport, Prediction

__all__ = ["read_garak"]

_THRESHOLD = 0.5
_COMPLETE = 2  # the status of an attempt that detectors have seen; each is written before that too


def read_garak(path: Path, name: str = "", confidence: float = 0.95) -> EvaluationReport:
    """The report of one run, with the model under `name` (default: what garak calls it) and the metric attack_success.

    Rows are tagged with the probe (`attack`) and the `detector`; those of one prompt are a group.

    Raises DataError with the line: no JSON, no finished attempt, or counts other than those that garak gives itself.
    """
    entries = list(_entries(path))
    setup = next((entry for _, entry in entries if entry.get("entry_type") == "start_run setup"), {})
    threshold = float(setup.get("run.eval_threshold") or _THRESHOLD)
    attempts = [(line, entry) for line, entry in entries if _is_finished(entry)]
    found = [_rows(path, line, entry, threshold) for line, entry in attempts]
    rows = tuple(row for each in found for row in each)
    if not rows:
        raise DataError([Problem("has no finished attempt", file=str(path), fix="name garak's NAME.report.jsonl")])
    _check_counts(path, entries, rows)
    model = str(setup.get("plugins.target_name") or setup.get("plugins.model_name") or "model")
    contestant = Contestant(
        name=name or model,
        model=model,
        adapter_digest=None,
        system_prompt=False,
        scores={"attack_success": score("attack_success", rows, (), confidence)},
        tokens_per_answer=0.0,
        latency_median_seconds=0.0,
        predictions=rows,
    )
    return EvaluationReport(
        dataset_digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        split="garak",
        rows=len(rows),
        labels=(),
        contestants=(contestant,),
        comparisons=(),
        questions={
            row.example_id: _text(entry.get("prompt"))
            for (_, entry), each in zip(attempts, found, strict=True)
            for row in each
        },
        confidence=confidence,
    )


def _entries(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, entry) of each line."""
    try:
        for line, text in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if text.strip():
                entry = json.loads(text)
                if not isinstance(entry, dict):
                    raise DataError([Problem("is no JSON object", file=str(path), line=line)])
                yield line, entry
    except json.JSONDecodeError as error:
        raise DataError([Problem(f"is no JSON: {error.msg}", file=str(path), line=line)]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([Problem(f"cannot be read: {error}", file=str(path))]) from None


def _is_finished(entry: Mapping[str, Any]) -> bool:
    return entry.get("entry_type") == "attempt" and entry.get("status") == _COMPLETE


def _rows(path: Path, line: int, entry: Mapping[str, Any], threshold: float) -> list[Prediction]:
    """One row per answer and detector; an answer that a detector could not judge is unscored."""
    outputs, results = entry.get("outputs") or [], entry.get("detector_results") or {}
    if not isinstance(outputs, list) or not isinstance(results, dict):
        raise DataError([Problem("is no attempt of garak's", file=str(path), line=line)])
    rows: list[Prediction] = []
    for detector, scores in results.items():
        if not isinstance(scores, list) or len(scores) != len(outputs):
            said = f"{detector} judged {len(scores) if isinstance(scores, list) else 0} of {len(outputs)} answers"
            raise DataError([Problem(said, file=str(path), line=line)])
        for place, (output, given) in enumerate(zip(outputs, scores, strict=True)):
            rows.append(
                Prediction(
                    example_id=f"{entry.get('uuid', line)}/{detector}/{place}",
                    reference="",
                    answer=_text(output),
                    label=None,
                    tokens=0,
                    seconds=0.0,
                    first_token_seconds=0.0,
                    finish_reason="stop",
                    expect={} if given is None else {"succeeded": float(given) >= threshold},
                    tags={"attack": str(entry.get("probe_classname", "")), "detector": str(detector)},
                    group=str(entry.get("uuid", line)),
                )
            )
    return rows


def _check_counts(path: Path, entries: list[tuple[int, dict[str, Any]]], rows: tuple[Prediction, ...]) -> None:
    """Raise DataError where garak's own counts are others: the report is not whole, or of a form we do not know."""
    counted = Counter(
        (row.tags["attack"], row.tags["detector"], bool(row.expect["succeeded"])) for row in rows if row.expect
    )
    for line, entry in entries:
        if entry.get("entry_type") != "eval":
            continue
        # `detector` may carry the kind of plugin in front, and older reports call the probe `probe` the same way.
        probe, detector = (str(entry.get(key, "")).removeprefix(f"{key}.") for key in ("probe", "detector"))
        passed, total = entry.get("passed"), entry.get("total_evaluated", entry.get("total"))
        ours = counted[probe, detector, False], counted[probe, detector, False] + counted[probe, detector, True]
        if (passed, total) != ours:
            theirs = f"garak counts {passed} of {total} withstood, its attempts say {ours[0]} of {ours[1]}"
            said = f"{probe} with {detector}: {theirs}"
            fix = "is the file cut off, or was the run resumed?"
            raise DataError([Problem(said, file=str(path), line=line, fix=fix)])


def _text(message: object) -> str:
    """The text of a message as versions of garak write it: a text, `{"text": ...}`, or a conversation's last turn."""
    if isinstance(message, dict):
        turns = message.get("turns")
        if isinstance(turns, list):
            return _text(turns[-1].get("content")) if turns else ""
        return _text(message.get("text"))
    return message if isinstance(message, str) else ""
