"""Whole runs of every preference objective on the tiny model: what they prove, store and resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.invariant.runs import SPEC
from tunesmith.errors import RecipeError
from tunesmith.models.attach import attach
from tunesmith.models.reward import RewardModel
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base, resolve_base
from tunesmith.prepare.stage import prepare
from tunesmith.progress import Silent
from tunesmith.train import loop
from tunesmith.train.finish import TrainingInput
from tunesmith.train.forward import score_plainly
from tunesmith.train.held_out import area_error, judged
from tunesmith.train.stage import train
from tunesmith.types.recipe import ModelSpec, PrepareSpec, TrainSpec
from tunesmith.types.run import RunRecord

PAIRS = [{"prompt": f"{'ab' * (i % 5)} {i}", "chosen": "red is it", "rejected": f"blue {i % 3}"} for i in range(24)]
JUDGED = [
    {"prompt": row["prompt"], "completion": row[key], "label": key == "chosen"}
    for row in PAIRS[:12]
    for key in ("chosen", "rejected")
]


def given(home: Path, base: Path, rows: list[dict[str, Any]]) -> TrainingInput:
    home.mkdir(parents=True, exist_ok=True)
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = resolve_base(ModelSpec(base=str(base)), home)
    split = {"validation": 0.2, "test": 0.1}
    spec = PrepareSpec.model_validate({"sources": [{"path": "rows.jsonl"}], "split": split})
    return TrainingInput("pairs", files, prepare(spec, renderer=Renderer(files.path), base_dir=home, home=home), home)


def run(home: Path, base: Path, objective: dict[str, Any], rows: Any = PAIRS, **changes: Any) -> RunRecord:
    spec = {**SPEC, "epochs": 2, "objective": objective, **changes}
    return train(TrainSpec.model_validate(spec), given(home, base, rows), Silent())


@pytest.mark.parametrize(
    ("objective", "rows", "identities"),
    [
        ({"name": "dpo"}, PAIRS, 2),
        ({"name": "dpo", "variant": "ipo"}, PAIRS, 2),
        ({"name": "orpo"}, PAIRS, 0),
        ({"name": "simpo"}, PAIRS, 0),
        ({"name": "kto"}, JUDGED, 3),
        ({"name": "kto"}, PAIRS, 3),
        ({"name": "reward"}, PAIRS, 2),
    ],
    ids=["dpo", "ipo", "orpo", "simpo", "kto", "kto on pairs", "reward"],
)
def test_it_trains_and_proves_it(tmp_path: Path, tiny: Path, objective: Any, rows: Any, identities: int) -> None:
    record = run(tmp_path, tiny, objective, rows)
    assert all(check.passed for check in record.checks)
    assert sum(check.name.startswith("before the first step the ") for check in record.checks) == identities
    metrics = [json.loads(line) for line in (Path(record.path) / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["validation_reward_accuracy"] > 0.9  # one answer is always the same: easily learned
    assert record.best_validation_loss < record.start_validation_loss  # type: ignore[operator]
    held = record.held_out_preferences
    assert held is not None
    assert (held.split, held.pairs, held.accuracy) == ("test", 1 if rows is JUDGED else 2, 1.0)
    assert held.mean_margin > 0


def test_a_saved_reward_model_prefers_what_was_chosen(tmp_path: Path, tiny: Path) -> None:
    record = run(tmp_path, tiny, {"name": "reward"})
    names = [check.name for check in record.checks]
    assert "the saved reward model, loaded anew, gives the same scores" in names
    dataset = given(tmp_path, tiny, PAIRS).dataset
    model = RewardModel(tiny, Path(record.path) / "adapter")
    scores = [model.score(example.content.conversations) for example in dataset.examples("test")]
    assert all(chosen > rejected for chosen, rejected in scores)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("objective", [{"name": "dpo"}, {"name": "kto"}, {"name": "reward"}], ids=lambda it: it["name"])
def test_interrupted_and_resumed_it_ends_with_the_same_bytes(
    tmp_path: Path, tiny: Path, objective: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run(tmp_path / "whole", tiny, objective)
    step = loop._step

    def dies(training: Any, number: int) -> Any:
        if number == 5:
            raise Killed
        return step(training, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", dies)
        with pytest.raises(Killed):
            run(tmp_path / "killed", tiny, objective)
    resumed = run(tmp_path / "killed", tiny, objective)
    assert resumed.adapter_digest == undisturbed.adapter_digest


def test_references_are_computed_once(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = run(tmp_path, tiny, {"name": "dpo"}, epochs=1)
    (Path(record.path) / "run.json").unlink()
    monkeypatch.setattr("tunesmith.train.reference._reference_chunks", None)
    monkeypatch.setattr("tunesmith.train.stage.with_references", lambda model, groups, batching: groups_of(groups))

    def groups_of(groups: Any) -> Any:
        return [group._replace(reference=(0.0, 0.0)) for group in groups]

    assert run(tmp_path, tiny, {"name": "dpo"}, epochs=1).adapter_digest == record.adapter_digest


def test_held_out_preferences_by_hand(tmp_path: Path, tiny: Path) -> None:
    """The log-ratios of the trained to the base model, each row alone through the model's own forward."""
    record = run(tmp_path, tiny, {"name": "dpo"}, epochs=1)
    base, tuned = load_base(tiny, "float32"), attach(load_base(tiny, "float32"), Path(record.path) / "adapter")
    margins = []
    for example in given(tmp_path, tiny, PAIRS).dataset.examples("test"):
        rows = [Renderer(tiny).render(conversation) for conversation in example.content.conversations]
        with torch.no_grad():
            both = zip(score_plainly(tuned, rows), score_plainly(base, rows), strict=True)
            chosen, rejected = (float((now - before).sum()) for now, before in both)
        margins.append(chosen - rejected)
    held = record.held_out_preferences
    assert held is not None
    assert held.mean_margin == pytest.approx(sum(margins) / len(margins), rel=1e-3, abs=1e-4)
    assert held.accuracy == sum(margin > 0 for margin in margins) / len(margins)


def test_an_objective_without_a_reference_is_judged_by_likelihood_per_token(tmp_path: Path, tiny: Path) -> None:
    record = run(tmp_path, tiny, {"name": "orpo"}, epochs=1)
    tuned = attach(load_base(tiny, "float32"), Path(record.path) / "adapter")
    margins = []
    for example in given(tmp_path, tiny, PAIRS).dataset.examples("test"):
        rows = [Renderer(tiny).render(conversation) for conversation in example.content.conversations]
        with torch.no_grad():
            chosen, rejected = (float(said.mean()) for said in score_plainly(tuned, rows))
        margins.append(chosen - rejected)
    assert record.held_out_preferences is not None
    assert record.held_out_preferences.mean_margin == pytest.approx(sum(margins) / len(margins), rel=1e-3, abs=1e-4)


def test_judged_answers_are_compared_in_all_pairs() -> None:
    wanted, unwanted = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.0, 2.0])
    found = judged("test", wanted, unwanted)
    assert (found.pairs, found.accuracy) == (6, 4 / 6)  # 3 > 0, 3 > 2, 1 > 0, 2 > 0; equal counts as lost
    assert found.mean_margin == pytest.approx(1.0)


def test_the_error_of_an_area_is_that_of_its_paper() -> None:
    """Hanley & McNeil 1982, the worked example: area 0.893 of 51 against 58 cases has the standard error 0.032."""
    assert area_error(0.893, 51, 58) == pytest.approx(0.032, abs=0.0006)


@pytest.mark.parametrize("method", ["prompt", "prefix", "full"])
@pytest.mark.parametrize("objective", ["dpo", "reward"])
def test_held_out_preferences_of_other_methods(tmp_path: Path, tiny: Path, method: str, objective: str) -> None:
    """Virtual tokens stand in front of held-out rows too; weights trained in place are compared with their start."""
    held = run(tmp_path, tiny, {"name": objective}, method={"name": method}).held_out_preferences
    assert held is not None
    assert held.mean_margin > 1e-3
    assert held.accuracy == 1.0


@pytest.mark.parametrize(
    ("objective", "rows", "message"),
    [
        (
            "sft",
            PAIRS,
            r"train\.objective\.name: 'sft' trains on conversation or text rows, .* preference .*choose .*dpo, .*kto",
        ),
        ("dpo", JUDGED, r"'dpo' trains on preference rows, but prepare\.sources gives labelled rows .*choose kto"),
        ("kto", [{"prompt": f"{i}", "completion": "x"} for i in range(12)], r"choose .*sft"),
    ],
)
def test_an_objective_on_the_wrong_rows_is_refused(
    tmp_path: Path, tiny: Path, objective: str, rows: Any, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run(tmp_path, tiny, {"name": objective}, rows)
