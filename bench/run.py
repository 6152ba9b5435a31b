"""make bench: our training against TRL's on the same rows, in turn, in one call.

    python -m bench.run [--only chat dpo] [--rounds 3] [--steps 5] [--precision auto|float32|bfloat16]

Every side runs in a process of its own, A B A B ..., so that the ratio holds when the machine's speed drifts. Lines
that were measured replace those of bench/results.json; the others stay. bench/RESULTS.md is written from it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.neighbours import Neighbours
from bench.side import Job, Result
from bench.summary import Round, summary
from bench.table import markdown, screen
from bench.task import make_task, write_tokens
from bench.work import Peak, shape_of
from bench.workload import DATA, workload_names, workload_of
from tunesmith.models.weights import resolve_base, resolve_precision
from tunesmith.settings import Settings
from tunesmith.threads import usable_cores
from tunesmith.types.recipe import ModelSpec

__all__ = ["main", "measure"]

ROOT = Path(__file__).parents[1]
WIDTH = 140
RESULTS, PAGE = (Path(__file__).with_name(name) for name in ("results.json", "RESULTS.md"))


def main() -> None:
    """Measure, print the table, write both files."""
    given = _arguments()
    given.precision = resolve_precision(given.precision)
    base = resolve_base(ModelSpec(base=given.base), Settings().home).path
    lines = json.loads(given.out.read_text()) if given.out.is_file() else {}
    for name in given.only or workload_names():
        try:
            lines[name] = measure(name, given, base)
        except FileNotFoundError as error:
            print(f"{name}: skipped, {error.filename} is not here", flush=True)
        given.out.write_text(json.dumps(lines, indent=2) + "\n")
    Console(width=None if sys.stdout.isatty() else WIDTH).print(screen(lines))
    if given.out == RESULTS:
        PAGE.write_text(markdown(lines))


def measure(name: str, given: argparse.Namespace, base: Path) -> dict[str, Any]:
    """All rounds of one workload."""
    batch = given.batch or workload_of(name).batch
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            workload=name,
            base=base,
            data=given.data,
            folder=Path(folder),
            batch=batch,
            steps=given.steps,
            warm_up=given.warm_up,
            rank=given.rank,
            precision=given.precision,
        )
        print(f"{name}: {job.steps} steps of {batch}, {job.precision}, {given.rounds} round(s)", flush=True)
        task = make_task(job)
        write_tokens(task, job.tokens_file)
        rounds = [_round(job, given.peer_python, number) for number in range(given.rounds)]
        line = summary(task, job, rounds, shape_of(base))
    machine = {"processor": _processor(), "cores": usable_cores()}
    return line | {"machine": machine, "measured": datetime.now(UTC).date().isoformat()}


def _round(job: Job, peer_python: str, number: int) -> Round:
    """Our side, the machine's peak, the peer's side. Ours trains anew in each round: a finished run would be reused."""
    neighbours = Neighbours()
    folder = job.folder / str(number)
    folder.mkdir()
    own = job.model_copy(update={"folder": folder})
    own.tokens_file.write_bytes(job.tokens_file.read_bytes())
    own.file.write_text(own.model_dump_json())
    ours = Result.model_validate_json(_said([sys.executable, "-m", "bench.ours", str(own.file)]))
    _show("ours", ours)
    peak = Peak(**json.loads(_said([sys.executable, "-m", "bench.work", "--precision", job.precision])))
    peer = Result.model_validate_json(_said([peer_python, "-m", "bench.peer", str(own.file)]))
    _show("TRL", peer)
    return Round(ours, peer, peak, neighbours.share())


def _show(side: str, result: Result) -> None:
    print(
        f"  {side:>4}: {result.seconds:6.1f} s, {result.processor_seconds:6.1f} s of processors, "
        f"{result.peak_bytes / 2**30:5.1f} GB",
        flush=True,
    )


def _said(command: Sequence[str]) -> str:
    """The last line that a process of one side prints. Its threads do not spin, whichever side it is."""
    threads = {"OMP_NUM_THREADS": str(usable_cores()), "GOMP_SPINCOUNT": "0", "TOKENIZERS_PARALLELISM": "false"}
    environment = {**os.environ, **threads, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout.strip().splitlines()[-1]


def _processor() -> str:
    """The processor's name where the kernel tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=workload_names(), metavar="WORKLOAD")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--batch", type=int, help="examples a step; each workload has its own default")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--base", default=ModelSpec().base, help="as model.base of a recipe")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the public data sets")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has the extra `bench`")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
