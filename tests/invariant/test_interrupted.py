"""What ends a run early: a signal, a damaged checkpoint, rows that give no number. Nothing is lost or hidden."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.invariant.runs import run, write_recipe
from tests.invariant.test_resume import losses
from tests.lines import Lines
from tunesmith import pipeline
from tunesmith.errors import TrainingFailed
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.settings import Settings
from tunesmith.types.run import RunRecord

ROOT = Path(__file__).parents[2]


def start(recipe: Path, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TUNESMITH_HOME": str(home)}
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    command = [sys.executable, "-m", "tunesmith.cli.main", "train", str(recipe)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_step(home: Path, process: subprocess.Popen[str], step: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if any(f'"step": {step},' in file.read_text() for file in home.glob("runs/*/metrics.jsonl")):
            return
        time.sleep(0.01)
    pytest.fail(f"the run never reached step {step}")


def adapter_bytes(record: RunRecord) -> bytes:
    return (Path(record.path) / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_a_signal_saves_a_checkpoint_from_which_the_run_ends_with_the_same_bytes(
    tmp_path: Path, tiny: Path, number: signal.Signals, code: int
) -> None:
    recipe = write_recipe(tmp_path, tiny, checkpoint_every=1000)
    home = tmp_path / "home"
    process = start(recipe, home)
    wait_for_step(home, process, 4)
    process.send_signal(number)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == code, errors
    assert f"Stopped by {number.name} after step" in errors
    assert "a checkpoint is saved" in errors
    assert "The same command again" in errors
    assert "Traceback" not in errors
    (metrics,) = home.glob("runs/*/metrics.jsonl")
    last = max(int(line.split()[0]) for line in losses(metrics))
    assert (metrics.parent / "checkpoints" / f"step-{last:06d}" / "state.json").is_file()

    lines = Lines()
    loaded = load_recipe(recipe)
    resumed = pipeline.train(loaded, tmp_path, Settings(home=home), lines)
    assert any("resuming after step" in line for line in lines.said)
    undisturbed = pipeline.train(loaded, tmp_path, Settings(home=tmp_path / "undisturbed"), Silent())
    assert adapter_bytes(resumed) == adapter_bytes(undisturbed)
    assert losses(metrics) == losses(Path(undisturbed.path) / "metrics.jsonl")


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path: Path, tiny: Path) -> None:
    whole = run(tmp_path / "whole", tiny, epochs=2)
    damaged = run(tmp_path / "damaged", tiny, epochs=2)
    folder = Path(damaged.path)
    (folder / "run.json").unlink()
    newest = max((folder / "checkpoints").iterdir())
    (newest / "adapter.safetensors").write_bytes(b"")
    again = run(tmp_path / "damaged", tiny, epochs=2)
    assert again.adapter_digest == whole.adapter_digest
    assert losses(folder / "metrics.jsonl") == losses(Path(whole.path) / "metrics.jsonl")


def poisoned(tiny: Path, folder: Path, character: str) -> Path:
    """The tiny model whose embedding of `character` is not finite; the output head, else tied to it, stays sound."""
    shutil.copytree(tiny, folder)
    weights = load_file(folder / "model.safetensors")
    (token,) = AutoTokenizer.from_pretrained(folder)(character, add_special_tokens=False)["input_ids"]
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.embed_tokens.weight"][token] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    return folder


def test_a_loss_that_is_no_number_names_its_row(tmp_path: Path, tiny: Path) -> None:
    """A 7 is in two rows, the eighth (number 7) and the eighteenth (number 17)."""
    base = poisoned(tiny, tmp_path / "base", "7")
    with pytest.raises(TrainingFailed) as caught:
        run(tmp_path / "home", base, validation=0.0, seed=3)
    message = caught.value.message
    assert "loss nan" in message
    assert "rows.jsonl:8)" in message or "rows.jsonl:18)" in message
    assert message.count("rows.jsonl:") == sum(f"rows.jsonl:{line})" in message for line in (8, 18))
    assert torch.is_grad_enabled()
