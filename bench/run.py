"""make bench: our training against TRL on the same rows, in turn, in one call; a table and bench/results.json.

    python bench/run.py [--rounds 3] [--steps 5] [--only disputes|gsm8k] [--precision auto|float32|bfloat16]

Each side runs in a process of its own, A B A B ..., so that the ratio holds when the machine's speed drifts.
Quoted are medians over the rounds and the median of the ratios round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.json")
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k" / "train_first_2500.jsonl"
WANTED = {"disputes": 6.0, "gsm8k": 2.5}


def disputes_rows() -> list[dict[str, Any]]:
    """The disputes set as the recipe trains it: every row opens with the same system prompt."""
    from tunesmith.recipes import load_recipe

    folder = ROOT / "examples" / "disputes"
    system = load_recipe(folder / "recipe.yaml").prepare.system
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    return [_chat(row["complaint"], row["category"], system) for row in rows]


def gsm8k_rows() -> list[dict[str, Any]]:
    """Word problems with worked answers and no system prompt: next to nothing is shared."""
    rows = [json.loads(line) for line in GSM8K.read_text(encoding="utf-8").splitlines()]
    return [_chat(row["question"], row["answer"], None) for row in rows]


def _chat(user: str, assistant: str, system: str | None) -> dict[str, Any]:
    head = [{"role": "system", "content": system}] if system else []
    return {"messages": [*head, {"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}


def measure(name: str, rows: list[dict[str, Any]], given: argparse.Namespace, model: Path) -> dict[str, Any]:
    """All rounds of one data set."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.jsonl"
        chosen = rows[: given.batch * given.steps]
        data.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
        sides: dict[str, list[dict[str, Any]]] = {"ours": [], "trl": []}
        for _ in range(given.rounds):
            for side, module in (("ours", "bench.ours"), ("trl", "bench.peer_trl")):
                sides[side].append(_run(module, data, given, model))
    ratios = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(sides["ours"], sides["trl"], strict=True)]
    gap = max(abs(a - b) / b for a, b in zip(sides["ours"][0]["losses"], sides["trl"][0]["losses"], strict=True))
    summary: dict[str, Any] = {"data": name, "rows": len(chosen), "rounds": given.rounds}
    for side, results in sides.items():
        for figure in ("tokens_per_second", "peak_mb"):
            summary[f"{side}_{figure}"] = statistics.median(result[figure] for result in results)
    summary |= {
        "ours_computed_tokens_per_second": statistics.median(r["computed_tokens_per_second"] for r in sides["ours"]),
        "speed_ratio": statistics.median(ratios),
        "speed_ratios": ratios,
        "memory_ratio": summary["ours_peak_mb"] / summary["trl_peak_mb"],
        "largest_relative_loss_difference": gap,
        "wanted_speed_ratio": WANTED[name],
    }
    return summary


def _run(module: str, data: Path, given: argparse.Namespace, model: Path) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", module, "--model", str(model), "--data", str(data)]
    command += ["--batch", str(given.batch), "--steps", str(given.steps), "--precision", given.precision]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GOMP_SPINCOUNT": "0"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{module} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(
        f"  {result['side']:>4}: {result['tokens_per_second']:7.1f} tokens/s  {result['peak_mb']:7.0f} MB", flush=True
    )
    return result


def main() -> None:
    """Measure, print the table, write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--only", choices=sorted(WANTED))
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    given = parser.parse_args()
    from tunesmith.models.weights import resolve_base, resolve_precision
    from tunesmith.settings import Settings
    from tunesmith.types.recipe import ModelSpec

    given.precision = resolve_precision(given.precision)
    base = resolve_base(ModelSpec(), Settings().home)
    sets = {"disputes": disputes_rows, "gsm8k": gsm8k_rows}
    results = []
    for name, rows in sets.items():
        if given.only in (None, name):
            if name == "gsm8k" and not GSM8K.is_file():
                print(f"gsm8k: skipped, {GSM8K} is not here")
                continue
            print(f"{name}: {given.steps} steps of {given.batch} rows, {given.precision}, {given.rounds} round(s)")
            results.append(measure(name, rows(), given, base.path))
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    RESULTS.write_text(
        json.dumps({"machine": machine, "precision": given.precision, "results": results}, indent=2) + "\n"
    )
    _print(results)


def _print(results: list[dict[str, Any]]) -> None:
    table = Table("data", "ours tok/s", "TRL tok/s", "speed", "wanted", "ours MB", "TRL MB", "memory", "loss gap")
    for row in results:
        table.add_row(
            row["data"],
            f"{row['ours_tokens_per_second']:.0f}",
            f"{row['trl_tokens_per_second']:.0f}",
            f"{row['speed_ratio']:.2f}x",
            f"{row['wanted_speed_ratio']}x",
            f"{row['ours_peak_mb']:.0f}",
            f"{row['trl_peak_mb']:.0f}",
            f"{row['memory_ratio']:.2f}x",
            f"{row['largest_relative_loss_difference']:.1e}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
