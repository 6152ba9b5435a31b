"""How `prepare` grows with its rows: seconds, rows per second, peak memory, for some sizes and numbers of processes.

    python -m bench.scale --data ../shared/data --rows 100000 300000 1000000 --processes 1 2

The rows are built from real sentences (banking77, clinc150) and texts (gsm8k, self_instruct): each row joins some of
them, drawn by its number, so that lengths are those of real data and no two rows are equal, but for one in fifty that
repeats an earlier row with another case. The steps are clean, exact duplicates and near duplicates.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["main", "texts_of", "write_rows"]

STEPS = ({"name": "clean"}, {"name": "near_duplicates", "threshold": 0.8})


def texts_of(data: Path) -> tuple[str, ...]:
    """All texts of the real sets under `data`, in a fixed order."""
    return tuple(dict.fromkeys(_texts(data)))


def _texts(data: Path) -> Iterator[str]:
    with (data / "banking77" / "train.csv").open(newline="", encoding="utf-8") as stream:
        yield from (row["text"] for row in csv.DictReader(stream))
    clinc = json.loads((data / "clinc150" / "data_train_val.json").read_text(encoding="utf-8"))
    yield from (text for part in clinc.values() for text, _ in part)
    for line in (data / "gsm8k" / "train_first_2500.jsonl").open(encoding="utf-8"):
        yield from json.loads(line).values()
    for line in (data / "self_instruct" / "seed_tasks.jsonl").open(encoding="utf-8"):
        yield json.loads(line)["instruction"]


def write_rows(path: Path, count: int, texts: tuple[str, ...]) -> None:
    """`count` rows of prompt and completion as JSONL."""
    draw = random.Random(7)
    with path.open("w", encoding="utf-8") as stream:
        rows: list[tuple[str, str]] = []
        for number in range(count):
            if number % 50 == 49:
                prompt, answer = draw.choice(rows)
                prompt = prompt.upper()
            else:
                prompt = " ".join(draw.sample(texts, draw.choice((1, 2, 2, 3, 4))))
                answer = draw.choice(texts)
                rows = [*rows[-999:], (prompt, answer)] if number % 10 == 0 else rows
            stream.write(json.dumps({"prompt": prompt, "completion": answer}, ensure_ascii=False) + "\n")


def _prepare(source: Path, home: Path, processes: int, *, words: bool) -> None:
    """What the measured process does."""
    from bench.words import Words
    from tunesmith.prepare.stage import Renders, prepare
    from tunesmith.prepare.workers import Workers
    from tunesmith.types.preparation import PrepareSpec

    renderer: Renders = Words()
    if not words:
        from tunesmith.models.template import Renderer
        from tunesmith.testing.tiny import make_tiny_model

        renderer = Renderer(make_tiny_model(home / "tiny"))
    fields = {"sources": [{"path": source.name}], "steps": STEPS, "max_tokens": 8192, "max_drop_rate": 1.0}
    spec, workers = PrepareSpec.model_validate(fields), Workers(processes)
    stored = prepare(spec, renderer=renderer, base_dir=source.parent, home=home, progress=_Timed(), workers=workers)
    ledger = stored.manifest.ledger
    print(
        json.dumps(
            {"used": ledger.rows_used, "tokens": ledger.tokens_in, "drops": {d.reason: d.rows for d in ledger.drops}}
        )
    )


class _Timed:
    """Writes what is done when to stderr."""

    def __init__(self) -> None:
        from tunesmith.progress import Silent

        self.task = Silent().task
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """One line with the seconds so far."""
        print(f"{time.monotonic() - self._start:8.1f} s  {text}", file=sys.stderr)


def _measured(source: Path, processes: int, *, words: bool) -> dict[str, object]:
    """Seconds, processor seconds and the peak of the memory of the process and its children, in megabytes."""
    with tempfile.TemporaryDirectory(dir=source.parent) as home:
        command = [sys.executable, "-m", "bench.scale", "--child", str(source), home, str(processes), str(int(words))]
        start, peak, largest, before = time.monotonic(), 0.0, 0.0, _children_seconds()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            sizes = [_resident(each) for each in (watched, *_children(watched))]
            peak, largest = max(peak, sum(sizes)), max(largest, *sizes)
            time.sleep(0.25)
        seconds = time.monotonic() - start
        said = child.stdout.read() if child.stdout else ""
    if child.returncode:
        raise SystemExit(f"preparing {source.name} failed")
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(_children_seconds() - before, 1),
        "peak_mb": round(peak),
        "largest_process_mb": round(largest),
        **json.loads(said),
    }


def _children_seconds() -> float:
    """Processor time of all children that have ended, and of theirs: a busy machine changes it less than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> float:
    """Unique set size: what would be freed if the process ended; pages of mapped files do not count."""
    try:
        return float(process.memory_full_info().uss) / 1e6
    except psutil.Error:
        return 0.0


def main() -> None:
    """Measure each size with each number of processes and print one JSON line for each."""
    if sys.argv[1:2] == ["--child"]:
        _prepare(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), words=sys.argv[5] == "1")
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="the folder with the real sets")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--scratch", type=Path, default=None, help="where the rows are written (default: a temporary folder)"
    )
    parser.add_argument("--words", action="store_true", help="count words instead of rendering with a tokenizer")
    options = parser.parse_args()
    texts = texts_of(options.data)
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        for count in options.rows:
            source = Path(folder) / f"rows-{count}.jsonl"
            write_rows(source, count, texts)
            for processes in options.processes:
                found = _measured(source, processes, words=options.words)
                print(
                    json.dumps(
                        {
                            "rows": count,
                            "processes": processes,
                            "rows_per_second": round(count / float(str(found["seconds"]))),
                            **found,
                        }
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
