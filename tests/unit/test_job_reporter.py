"""What a job tells of a run that goes on while it is looked at."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.jobs import reporter
from tunesmith.jobs.reporter import Reporter


class Deaf:
    """A store that is told things and keeps none."""

    def say_all(self, *_: object) -> None: ...

    def change(self, *_: object) -> None: ...


def test_a_checkpoint_has_its_validation_although_the_epoch_ends_while_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "ftjob-1-abc"
    run.mkdir(parents=True)
    record = run / "metrics.jsonl"
    record.write_text(json.dumps({"step": 2, "loss": 1.5}) + "\n")
    read, kept = reporter.metrics_of, {}

    def read_then_the_epoch_ends(folder: Path | None) -> dict[int, dict[str, float]]:
        found = read(folder)
        if not (run / "epochs").exists():
            with record.open("a") as lines:
                lines.write(json.dumps({"step": 2, "validation_loss": 1.25}) + "\n")
            (run / "epochs" / "step-2").mkdir(parents=True)
        return found

    monkeypatch.setattr(reporter, "metrics_of", read_then_the_epoch_ends)
    job: Any = SimpleNamespace(id="ftjob-1", resolved=None, rows=None)
    given: Any = (SimpleNamespace(home=tmp_path), Deaf(), job, None)
    watching = Reporter(*given)
    monkeypatch.setattr(watching, "_keep", lambda folder, step, metrics: kept.update({step: metrics[step]}))
    watching.look()
    assert kept == {}
    watching.look()
    assert kept == {2: {"loss": 1.5, "validation_loss": 1.25}}
