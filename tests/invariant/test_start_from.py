"""Training on from an adapter: it begins there, is held against it, and resumes with the same bytes."""

from __future__ import annotations

import json
import math
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.invariant.policy_runs import run as run_policy
from tests.invariant.runs import SPEC, run
from tests.invariant.test_preference_runs import PAIRS, given
from tests.invariant.test_resume import finish, losses, start, wait_for_steps
from tunesmith.models.attach import attach
from tunesmith.models.methods.lora import Lora
from tunesmith.models.new_tokens import INPUT, ROWS_FILE, new_token_ids, row_tensors, train_rows
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base, resolve_base
from tunesmith.parents import find_parent
from tunesmith.progress import Silent
from tunesmith.settings import Settings
from tunesmith.train import loop
from tunesmith.train.forward import score_plainly
from tunesmith.train.selfchecks import SAME_START
from tunesmith.train.stage import train
from tunesmith.types.recipe import ModelSpec, TrainSpec
from tunesmith.types.run import RunRecord

METHODS: list[dict[str, Any]] = [
    {"name": "lora", "rank": 4, "dropout": 0.1},
    {"name": "lora", "rank": 4, "init": "pissa", "rank_pattern": {"down_proj": 6}},
    {"name": "lora", "rank": 4, "init": "olora", "rslora": True},
    {"name": "lora", "rank": 4, "last_layers": 1, "targets": ["q_proj", "up_proj"], "alpha": 3.0},
    {"name": "dora", "rank": 4},
    {"name": "qlora", "rank": 4},
    {"name": "adalora", "rank": 6, "target_rank": 2, "last_layers": 1},
    {"name": "vera"},
    {"name": "oft", "block_size": 8},
    {"name": "ia3"},
    {"name": "bottleneck"},
    {"name": "freeze"},
    {"name": "full"},
]


@pytest.fixture(scope="module")
def parent(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A supervised run to go on from."""
    return run(tmp_path_factory.mktemp("parent"), tiny, epochs=2)


def preferring(home: Path, base: Path, parent: RunRecord, **changes: Any) -> RunRecord:
    """Preferences on top of `parent`."""
    objective = {"name": "dpo"}
    options = {**SPEC, "epochs": 2, "objective": objective, "start_from": parent.path, **changes}
    del options["method"]
    spec = TrainSpec.model_validate(options)
    there = given(home, base, PAIRS)
    return train(spec, there._replace(parent=find_parent(spec, home, Settings(home=home))), Silent())


def said(model: Any, rows: list[Any]) -> list[float]:
    with torch.no_grad():
        return [float(part.sum()) for part in score_plainly(model, rows)]


def test_preferences_are_held_against_the_adapter_and_not_against_the_base(
    tmp_path: Path, tiny: Path, parent: RunRecord
) -> None:
    """The references are the parent's own log-probabilities, row by row through the model's own forward."""
    record = preferring(tmp_path, tiny, parent)
    dataset = given(tmp_path, tiny, PAIRS).dataset
    rows = [
        Renderer(tiny).render(conversation)
        for split in ("train", "validation")
        for example in dataset.examples(split)  # type: ignore[arg-type]
        for conversation in example.content.conversations
    ]
    stored = load_file(Path(record.path) / "reference.safetensors")["logprobs"].tolist()
    base = load_base(tiny, "float32")
    assert stored != pytest.approx(said(base, rows), abs=0.5)
    assert stored == pytest.approx(said(attach(base, Path(parent.path) / "adapter"), rows), abs=1e-3)
    checks = {check.name: check.detail for check in record.checks}
    assert float(checks["before the first step the loss is 0.6931"]) == pytest.approx(math.log(2), abs=1e-4)
    assert SAME_START in checks
    assert "the fresh adapter is a no-op" not in checks


def test_held_out_margins_are_against_the_adapter(tmp_path: Path, tiny: Path, parent: RunRecord) -> None:
    record = preferring(tmp_path, tiny, parent, epochs=1)
    tuned = attach(load_base(tiny, "float32"), Path(record.path) / "adapter")
    before = attach(load_base(tiny, "float32"), Path(parent.path) / "adapter")
    margins = []
    for example in given(tmp_path, tiny, PAIRS).dataset.examples("test"):
        rows = [Renderer(tiny).render(conversation) for conversation in example.content.conversations]
        chosen, rejected = (now - then for now, then in zip(said(tuned, rows), said(before, rows), strict=True))
        margins.append(chosen - rejected)
    assert record.held_out_preferences is not None
    assert record.held_out_preferences.mean_margin == pytest.approx(sum(margins) / len(margins), rel=1e-3, abs=1e-4)


def test_sampled_answers_are_held_against_the_adapter(tmp_path: Path, tiny: Path, parent: RunRecord) -> None:
    """The drift from the start that grpo weighs is nothing before the first step, though the base is far away."""
    objective = {"name": "grpo", "completions": 8, "max_tokens": 8, "beta": 0.01}
    method = {"name": "lora", "dropout": 0.0}
    record = run_policy(tmp_path, tiny, start_from=parent.path, objective=objective, method=method)
    lines = [json.loads(line) for line in (Path(record.path) / "metrics.jsonl").read_text().splitlines()]
    drift = [line["kl"] for line in lines if "kl" in line]
    assert drift[0] < 1e-6 < drift[-1]


@pytest.mark.parametrize("method", METHODS, ids=lambda case: "-".join(map(str, case.values())))
def test_every_method_goes_on_and_resumes_with_the_same_bytes(
    method: dict[str, Any], tmp_path: Path, tiny: Path
) -> None:
    """Stopped after step 3: everything later is deleted, as if the process had died there."""
    first = run(tmp_path / "first", tiny, method=method, epochs=1)
    changes = {"start_from": first.path, "seed": 1, "checkpoint_every": 1, "keep_checkpoints": 99, "epochs": 1}
    changes |= {"learning_rate": 0.003}
    whole = run(tmp_path / "run", tiny, **changes)
    assert whole.parent_digest == first.adapter_digest
    assert whole.start_validation_loss == pytest.approx(first.best_validation_loss, rel=1e-3)
    assert whole.adapter_digest != first.adapter_digest
    folder = Path(whole.path)
    expected = (folder / "adapter/adapter_model.safetensors").read_bytes()
    for step in range(4, whole.steps + 1):
        shutil.rmtree(folder / "checkpoints" / f"step-{step:06d}")
    shutil.rmtree(folder / "adapter")
    (folder / "run.json").unlink()
    assert run(tmp_path / "run", tiny, **changes).adapter_digest == whole.adapter_digest
    assert (folder / "adapter/adapter_model.safetensors").read_bytes() == expected


class Killed(BaseException):
    pass


def test_stopped_preferences_end_with_the_same_bytes(
    tmp_path: Path, tiny: Path, parent: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = preferring(tmp_path / "whole", tiny, parent)
    step = loop._step

    def dies(training: Any, number: int) -> Any:
        if number == 5:
            raise Killed
        return step(training, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", dies)
        with pytest.raises(Killed):
            preferring(tmp_path / "killed", tiny, parent)
    assert preferring(tmp_path / "killed", tiny, parent).adapter_digest == undisturbed.adapter_digest


@pytest.mark.slow
def test_killed_at_a_random_step_it_ends_with_the_same_bytes(tmp_path: Path, tiny: Path, parent: RunRecord) -> None:
    changes: dict[str, Any] = {"start_from": parent.path, "seed": 3, "words": ["grey", "blue", "green", "red"]}
    undisturbed = finish(tmp_path / "undisturbed", tiny, **changes)
    process = start(tmp_path / "killed", tiny, **changes)
    wait_for_steps(tmp_path / "killed", process, random.Random().randrange(1, 14))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert finish(tmp_path / "killed", tiny, **changes) == undisturbed
    (metrics,) = (tmp_path / "killed").glob("runs/*/metrics.jsonl")
    (expected,) = (tmp_path / "undisturbed").glob("runs/*/metrics.jsonl")
    assert losses(metrics) == losses(expected)


def test_rows_of_new_tokens_go_on_too(tmp_path: Path, tiny: Path) -> None:
    """The run's own check compares its start with the parent as it is served, on rows with the new tokens."""
    files = resolve_base(ModelSpec(base=str(tiny), new_tokens=("<|order|>", "<|refund|>")), tmp_path / "home")
    words = ["<|order|>red", "<|refund|>green", "blue<|order|>", "grey"]
    first = run(tmp_path / "first", files.path, method={"name": "lora", "rank": 4}, epochs=1, words=words)
    again = run(tmp_path / "next", files.path, start_from=first.path, epochs=1, words=words[::-1], learning_rate=0.003)
    assert [check.passed for check in again.checks if check.name == SAME_START] == [True]
    saved = load_file(Path(first.path) / "adapter" / ROWS_FILE)[INPUT]
    model = Lora(rank=4).wrap(load_base(files.path, "float32"), 0)
    train_rows(model, new_token_ids(files.path), Path(first.path) / "adapter")
    assert torch.equal(row_tensors(model)[INPUT].detach(), saved)
    with torch.no_grad():
        row_tensors(model)[INPUT].add_(1.0)
    with Lora(rank=4).without(model):
        assert torch.equal(row_tensors(model)[INPUT].detach(), saved)
    assert not torch.equal(load_file(Path(again.path) / "adapter" / ROWS_FILE)[INPUT], saved)
