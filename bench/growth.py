"""How the cost of a step grows with tree size, batch, row length and rank: bench/growth.json and bench/growth.png.

    python -m bench.growth --base FOLDER [--only rank]

Each point is a run of the train stage on made-up rows; its cost is the processor time of a step (user mode, all
threads), which a busy machine changes little. The exponent is the slope of a line through log(cost) over log(size), by
least squares. Along `tree` the rows stay as long and as many as they are and only share less: what grows is the number
of nodes that are computed, not that of the tokens learned from.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.ours import train_task
from bench.side import Job
from bench.task import Task, make_task
from bench.workload import DATA, Wanted, Workload, chat_row
from tunesmith.models.weights import resolve_base, resolve_precision
from tunesmith.settings import Settings
from tunesmith.train.objective import rows_of
from tunesmith.train.tree import fold
from tunesmith.types.recipe import ModelSpec

__all__ = ["AXES", "MadeUp", "Point", "exponent", "main", "measured", "picture"]

FILE, PICTURE = (Path(__file__).with_name(name) for name in ("growth.json", "growth.png"))
STEPS, WARM_UP = 3, 1
SOUNDS, ENDINGS = ("am", "ber", "cor", "del"), ("ade", "eth", "ion", "une")


class Point(NamedTuple):
    """One run: `batch` rows a step of `shared` words that all rows have and `own` words of each row's."""

    batch: int = 4
    own: int = 64
    shared: int = 0
    rank: int = 16


AXES: Mapping[str, tuple[Point, ...]] = {
    "tree": tuple(Point(own=184 - shared, shared=shared) for shared in (160, 128, 80, 0)),
    "batch": tuple(Point(batch=batch, own=48) for batch in (1, 2, 4, 8)),
    "length": tuple(Point(batch=2, own=own) for own in (24, 64, 144, 304, 480)),
    "rank": tuple(Point(batch=2, rank=rank) for rank in (4, 16, 64, 256)),
}
LABELS: Mapping[str, str] = {
    "tree": "nodes of the tree (as many tokens learned from)",
    "batch": "rows a step",
    "length": "tokens a row",
    "rank": "rank of the adapter",
}


class MadeUp(Workload):
    """Rows of words in no order, so that nothing but `shared` is shared beyond the template's opening."""

    title = "made up"
    wanted = Wanted()

    own: int
    shared: int

    def rows(self, data: Path) -> list[dict[str, Any]]:
        """Enough rows for every point."""
        words = [sound + ending for sound in SOUNDS for ending in ENDINGS]
        draw = np.random.default_rng(0)
        system = " ".join(words[index % len(words)] for index in range(self.shared)) or None
        texts = [" ".join(draw.choice(words, self.own)) for _ in range(max(p.batch for p in AXES["batch"]) * STEPS)]
        return [chat_row(text, " ".join(draw.choice(words, 8)), system) for text in texts]


def main() -> None:
    """Measure, write the figures and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default=ModelSpec().base, help="as model.base of a recipe")
    parser.add_argument("--only", nargs="*", choices=tuple(AXES), metavar="AXIS")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    given = parser.parse_args()
    base = resolve_base(ModelSpec(base=given.base), Settings().home).path
    found = json.loads(FILE.read_text()) if FILE.is_file() else {}
    for axis in given.only or AXES:
        points = [measured(axis, point, base, resolve_precision(given.precision)) for point in AXES[axis]]
        found[axis] = {"points": points, "exponent": exponent(points)}
        print(f"{axis}: cost grows with exponent {found[axis]['exponent']:.2f}", flush=True)
        FILE.write_text(json.dumps(found, indent=2) + "\n")
    picture(found, PICTURE)


def measured(axis: str, point: Point, base: Path, precision: str) -> dict[str, Any]:
    """Size along `axis`, tokens, and seconds of one step on the wall and of processors."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"batch": point.batch, "rank": point.rank, "steps": STEPS, "warm_up": WARM_UP}
        job = Job(workload=axis, base=base, data=DATA, folder=Path(folder), precision=precision, **sizes)
        task = make_task(job, MadeUp(own=point.own, shared=point.shared))
        result = train_task(task, job)
    timed = STEPS - WARM_UP
    values = _tokens(task) | {
        "batch": point.batch,
        "rank": point.rank,
        "seconds": result.seconds / timed,
        "processor_seconds": result.processor_seconds / timed,
    }
    print(f"  {axis} {values[axis]:g}: {values['processor_seconds']:.2f} s of processors a step", flush=True)
    return {"size": values[axis], **values}


def _tokens(task: Task) -> dict[str, float]:
    """Per timed step: nodes of the tree, tokens of all rows, and tokens of a row."""
    steps = [rows_of(groups) for groups in task.steps[WARM_UP:]]
    effective = sum(len(row.token_ids) for rows in steps for row in rows) / len(steps)
    return {
        "tree": sum(fold(rows).size for rows in steps) / len(steps),
        "effective_tokens": effective,
        "length": effective / len(steps[0]),
    }


def exponent(points: Sequence[Mapping[str, float]]) -> float:
    """Slope of log(cost) over log(size) by least squares."""
    sizes, costs = ([math.log(point[name]) for point in points] for name in ("size", "processor_seconds"))
    return float(np.polyfit(sizes, costs, 1)[0])


def picture(found: Mapping[str, Any], file: Path) -> None:
    """One panel for each axis, both scales logarithmic, with the line whose slope is the exponent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(found), 3.6), layout="constrained")
    for panel, (axis, line) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        sizes, costs = ([point[name] for point in line["points"]] for name in ("size", "processor_seconds"))
        centre = [np.exp(np.mean(np.log(values))) for values in (sizes, costs)]
        fitted = [centre[1] * (size / centre[0]) ** line["exponent"] for size in sizes]
        panel.loglog(sizes, costs, "o", sizes, fitted, "-")
        panel.set_xlabel(LABELS[axis])
        panel.set_title(f"exponent {line['exponent']:.2f}")
    figure.axes[0].set_ylabel("processor seconds a step")
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
