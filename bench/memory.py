"""Predicted against actual peak memory of real training runs, for several methods and row lengths.

    python -m bench.memory --base FOLDER [--precision bfloat16] [--out FILE]

Each shape is a process of its own: three steps of `tunesmith train`'s own stage on made-up rows, then the two figures
that every run records. `resident` is what the process holds before the first step; the last column compares only what
comes on top of it, which is the harder thing to predict.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["error", "main", "measure", "train"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

METHODS: Mapping[str, dict[str, Any]] = {
    "lora": {"name": "lora"},
    "lora, last 8 layers": {"name": "lora", "last_layers": 8},
    "full": {"name": "full"},
}
LENGTHS = (128, 768)
STEPS, BATCH = 3, 8
LIMIT = 0.15


def main() -> None:
    """Run every shape and print the table; exit code 1 when a prediction is off by more than 15 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.shape:
        method, length = given.shape.rsplit("@", 1)
        print(json.dumps(train(given.base, METHODS[method], int(length), given.precision)))
        return
    print("| method | tokens a row | pieces | resident MB | predicted MB | actual MB | error | error above resident |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for method, length in itertools.product(METHODS, LENGTHS):
        row = measure(given.base, method, length, given.precision)
        rows.append(row)
        numbers = " | ".join(f"{row[name] / 2**20:.0f}" for name in ("resident", "predicted", "actual"))
        print(f"| {method} | {length} | {row['accumulate']} | {numbers} | {_errors(row)} |", flush=True)
    if given.out:
        given.out.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(any(abs(error(row)) > LIMIT for row in rows))


def error(row: dict[str, Any]) -> float:
    """Relative error of the predicted peak."""
    return float(row["predicted"] / row["actual"] - 1)


def measure(base: Path, method: str, length: int, precision: str = "auto") -> dict[str, Any]:
    """The figures of one shape, from a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.memory", "--base", str(base), "--precision", precision]
    done = subprocess.run([*command, "--shape", f"{method}@{length}"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{method} at {length} tokens failed:\n{done.stderr}")
    return {"method": method, "length": length, **json.loads(done.stdout.splitlines()[-1])}


def train(base: Path, method: dict[str, Any], length: int, precision: str) -> dict[str, Any]:
    """Train three steps and return resident, predicted and actual peak bytes."""
    from tunesmith.models.template import Renderer
    from tunesmith.models.weights import resolve_base
    from tunesmith.prepare.stage import prepare
    from tunesmith.progress import Silent
    from tunesmith.train.finish import TrainingInput
    from tunesmith.train.settled import read_settled
    from tunesmith.train.stage import train as train_stage
    from tunesmith.types.recipe import ModelSpec, PrepareSpec, TrainSpec

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        files = resolve_base(ModelSpec(base=str(base)), home)
        renderer = Renderer(files.path)
        _write_rows(home / "rows.jsonl", renderer, length)
        split = {"validation": 0.0, "test": 0.0}
        sources = [{"path": "rows.jsonl"}]
        spec = PrepareSpec.model_validate({"sources": sources, "split": split, "max_tokens": 2 * length})
        dataset = prepare(spec, renderer=renderer, base_dir=home, home=home)
        options = {"method": method, "epochs": 1, "batch_size": BATCH, "learning_rate": 1e-5, "precision": precision}
        record = train_stage(TrainSpec.model_validate(options), TrainingInput("memory", files, dataset, home), Silent())
        settled = read_settled(Path(record.path))
        return {
            "resident": settled.resident_bytes if settled else 0,
            "predicted": record.predicted_peak_bytes,
            "actual": record.actual_peak_bytes,
            "accumulate": record.accumulate,
        }


def _write_rows(file: Path, renderer: Any, length: int) -> None:
    """Rows that share nothing, of which the longest has about `length` tokens and the shortest half as many."""
    words = [f"{sound}{ending}" for sound in ("am", "ber", "cor", "del") for ending in ("ade", "eth", "ion", "une")]
    rows = []
    for index in range(STEPS * BATCH):
        wanted = length - (index * 7919) % (length // 2)
        text = f"{index}"
        step = index
        while len(renderer.answer_ids(text)) < wanted * 0.9:
            step += index + 1
            text += f" {words[step % 16]} {words[(step // 16) % 16]}"
        rows.append({"prompt": text, "completion": " ".join(words[(index + place) % 16] for place in range(8))})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _errors(row: dict[str, Any]) -> str:
    above = (row["predicted"] - row["resident"]) / max(1, row["actual"] - row["resident"]) - 1
    return f"{error(row):+.1%} | {above:+.1%}"


if __name__ == "__main__":
    main()
