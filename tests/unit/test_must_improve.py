"""A run that learns nothing for its validation rows has failed, unless it is told that they are only watched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.invariant.runs import SPEC
from tests.invariant.runs import run as run_plain
from tunesmith.errors import RecipeError, TrainingFailed
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base
from tunesmith.prepare.stage import prepare
from tunesmith.progress import Silent
from tunesmith.train.finish import TrainingInput
from tunesmith.train.learned import IMPROVED
from tunesmith.train.run_folder import run_folder
from tunesmith.train.stage import train
from tunesmith.types.recipe import ModelSpec, PrepareSpec, TrainSpec


def given(home: Path, base: Path) -> TrainingInput:
    """Training rows that always answer the same, and validation rows that never do."""
    for name, answer in (("train", "aaaa"), ("validation", "ZQ#!")):
        rows = [{"prompt": f"{name} {i}", "completion": answer} for i in range(16)]
        (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources: list[dict[str, Any]] = [{"path": f"{name}.jsonl", "split": name} for name in ("train", "validation")]
    spec = PrepareSpec.model_validate({"sources": sources, "split": {"validation": 0.0, "test": 0.0}})
    files = resolve_base(ModelSpec(base=str(base)), home)
    return TrainingInput("watched", files, prepare(spec, renderer=Renderer(files.path), base_dir=home, home=home), home)


def test_no_gain_fails_the_run_or_stands_in_its_checks(tmp_path: Path, tiny: Path) -> None:
    rows, spec = given(tmp_path, tiny), TrainSpec.model_validate({**SPEC, "epochs": 6})
    with pytest.raises(TrainingFailed, match=IMPROVED):
        train(spec, rows, Silent())
    watched = spec.model_copy(update={"must_improve": False})
    assert run_folder(watched, rows) != run_folder(spec, rows)
    record = train(watched, rows, Silent())
    assert [check.name for check in record.checks if not check.passed] == [IMPROVED]
    assert record.best_validation_loss >= record.start_validation_loss  # type: ignore[operator]


def test_it_has_no_effect_without_validation_rows(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.must_improve"):
        run_plain(tmp_path, tiny, validation=0.0, must_improve=False)
