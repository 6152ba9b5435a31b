"""Validation between the epochs' ends is only watched: the adapter stays the same, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.invariant import policy_runs
from tests.invariant.runs import run
from tunesmith.errors import Interrupted, RecipeError
from tunesmith.train import loop

GRPO = policy_runs.TRAIN["objective"]


def validated(path: str) -> dict[int, float]:
    """Step -> validation loss."""
    lines = [json.loads(line) for line in (Path(path) / "metrics.jsonl").read_text().splitlines()]
    found = [(line["step"], line["validation_loss"]) for line in lines if "validation_loss" in line]
    assert len(dict(found)) == len(found)  # none is measured twice
    return dict(found)


def test_it_is_watched_every_so_many_steps_and_changes_nothing(tmp_path: Path, tiny: Path) -> None:
    plain = run(tmp_path / "plain", tiny)
    watched = run(tmp_path / "watched", tiny, validate_every=2)
    ends = validated(plain.path)
    seen = validated(watched.path)
    assert set(seen) == set(ends) | set(range(2, plain.steps + 1, 2))
    assert set(seen) > set(ends)
    assert {step: seen[step] for step in ends} == ends
    assert watched.adapter_digest == plain.adapter_digest
    assert watched.path != plain.path


def test_a_stop_while_it_is_watched_is_made_up_for(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path / "whole", tiny, validate_every=2)
    calls = []

    def stopped(training: loop.Training) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:  # the first is before the first step
            raise Interrupted(15, "")
        return validate(training)

    validate = loop.validate
    with monkeypatch.context() as patched:
        patched.setattr(loop, "validate", stopped)
        with pytest.raises(Interrupted):
            run(tmp_path / "stopped", tiny, validate_every=2)
    resumed = run(tmp_path / "stopped", tiny, validate_every=2)
    assert validated(resumed.path) == validated(whole.path)
    assert resumed.adapter_digest == whole.adapter_digest


def test_it_has_no_effect_without_validation_rows(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(RecipeError, match=r"train\.validate_every"):
        run(tmp_path, tiny, validation=0.0, validate_every=2)


def test_drawn_answers_are_graded_with_the_same_seeds_each_time(tmp_path: Path, tiny: Path) -> None:
    """Each of 4 rows has 3 answers, of which a grader that says quarters makes 48ths."""
    grader = {
        "name": "python",
        "source": "def grade(sample, item):\n    return sum(map(ord, sample['output_text'])) % 5 / 4\n",
    }
    objective = {**GRPO, "validation_samples": 3}
    changes = {"epochs": 2, "grader": grader, "must_improve": False}
    drawn = policy_runs.run(tmp_path / "drawn", tiny, objective=objective, **changes)
    again = policy_runs.run(tmp_path / "again", tiny, objective=objective, **changes)
    greedy = policy_runs.run(tmp_path / "greedy", tiny, **changes)
    rewards = validated(drawn.path)
    assert all(round(48 * reward, 6) == round(48 * reward) for reward in rewards.values())
    assert rewards == validated(again.path) != validated(greedy.path)
