"""Rows per second for load, normalise, exact and near duplicates: ours, text-dedup, and datasets.map, in turn.

    python -m bench.dedup --data ../shared/data --rows 20000 --rounds 2

The rows are those of `bench.scale`. Ours is the whole of `prepare` but for the tokenizer (words are counted): it also
parses, keys, splits, keeps the ledger and stores dataset and dropped rows. text-dedup runs its own two commands,
`exact_hash` and `minhash`, on a file that is normalised beforehand outside the clock. `datasets` maps a normalisation
and a MinHash of datasketch over the rows and asks datasketch's LSH. All: 128 permutations, threshold 0.8, shingles of 5
(text-dedup: words, its only kind), two processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.scale import texts_of, write_rows
from tunesmith.prepare.content import normalised

__all__ = ["main"]

SIDES = ("tunesmith", "text-dedup", "datasets.map")


def _commands(side: str, folder: Path, out: Path) -> list[list[str]]:
    """What a side runs, one process after the other; sources lie in `folder`."""
    python = sys.executable
    if side == "tunesmith":
        return [[python, "-m", "bench.scale", "--child", str(folder / "rows.jsonl"), str(out), "2", "1"]]
    if side == "datasets.map":
        return [[python, "-m", "bench.dedup", "--mapped", str(folder / "texts.jsonl"), str(out)]]
    shared = ["--column", "text", "--cache_dir", str(out / "cache"), "--num_proc", "2"]
    first = ["--path", "json", "--data_files", str(folder / "normal.jsonl"), "--split", "train"]
    second = ["--path", str(out / "exact"), "--local", "--threshold", "0.8", "--num_perm", "128", "--ngram", "5"]
    return [
        [python, "-m", "text_dedup.exact_hash", *first, *shared, "--output", str(out / "exact")],
        [python, "-m", "text_dedup.minhash", *second, *shared, "--min_length", "1", "--output", str(out / "near")],
    ]


def _mapped(source: Path, out: Path) -> None:
    """The same work as somebody would write it with `datasets` and `datasketch`."""
    import datasets
    from datasketch import MinHash, MinHashLSH

    def normal(row: dict[str, str]) -> dict[str, str]:
        return {"text": normalised(row["text"])}

    def signed(row: dict[str, str]) -> dict[str, object]:
        sketch = MinHash(num_perm=128)
        text = row["text"]
        sketch.update_batch({text[at : at + 5].encode() for at in range(max(1, len(text) - 4))})
        return {"signature": sketch.hashvalues}

    rows = datasets.load_dataset("json", data_files=str(source), split="train", cache_dir=str(out / "cache"))
    rows = rows.map(normal, num_proc=2)
    seen: set[str] = set()
    rows = rows.filter(lambda row: not (row["text"] in seen or seen.add(row["text"])))  # type: ignore[func-returns-value]
    rows = rows.map(signed, num_proc=2)
    index, kept, scheme = MinHashLSH(threshold=0.8, num_perm=128), [], MinHash(num_perm=128).scheme
    for number, signature in enumerate(rows.with_format("numpy")["signature"]):
        sketch = MinHash(num_perm=128, hashvalues=signature, scheme=scheme)
        if not index.query(sketch):
            index.insert(number, sketch)
            kept.append(number)
    rows.select(kept).remove_columns("signature").to_json(out / "kept.jsonl")


def _seconds(side: str, folder: Path) -> tuple[float, float]:
    """Seconds on the clock and of the processors (all processes of the side)."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start, before = time.monotonic(), _processor_seconds()
        for command in _commands(side, folder, Path(out)):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{side}: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return time.monotonic() - start, _processor_seconds() - before


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write(folder: Path, count: int, data: Path) -> None:
    write_rows(folder / "rows.jsonl", count, texts_of(data))
    with (
        (folder / "rows.jsonl").open(encoding="utf-8") as rows,
        (folder / "texts.jsonl").open("w", encoding="utf-8") as texts,
        (folder / "normal.jsonl").open("w", encoding="utf-8") as normal,
    ):
        for line in rows:
            text = "\n".join(json.loads(line).values())
            texts.write(json.dumps({"text": text}) + "\n")
            normal.write(json.dumps({"text": normalised(text)}) + "\n")


def main() -> None:
    """Measure the sides in turn and print a JSON line for each."""
    if sys.argv[1:2] == ["--mapped"]:
        _mapped(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with the real sets")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, options.rows, options.data)
        taken: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for _ in range(options.rounds):
            for side in SIDES:
                taken[side].append(_seconds(side, folder))
    for side, found in taken.items():
        clock, busy = (statistics.median(each) for each in zip(*found, strict=True))
        speeds = {"rows_per_second": round(options.rows / clock), "rows_per_cpu_second": round(options.rows / busy)}
        print(json.dumps({"side": side, **speeds, "seconds": [[round(one, 1) for one in each] for each in found]}))


if __name__ == "__main__":
    main()
