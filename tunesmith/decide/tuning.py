"""Small-budget tunes on nested subsets: the tune that is compared with prompting, and the points of the curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tunesmith.decide.budget import Budget
from tunesmith.decide.curve import Measured, learning_curve
from tunesmith.decide.evidence import Curve, CurvePoint
from tunesmith.decide.measuring import Lab, Result, Way
from tunesmith.decide.options import DecideOptions
from tunesmith.decide.prompting import Rows
from tunesmith.decide.prompts import with_prompt
from tunesmith.decide.subsets import nested, subset_sizes
from tunesmith.errors import Problem, RecipeError
from tunesmith.evaluate.metric import load_metric, terms_of
from tunesmith.types.base import Value
from tunesmith.types.dataset import Example
from tunesmith.types.recipe import TrainSpec

__all__ = ["Trained", "Tuner", "TunesMeasured", "measure_tunes", "require_base", "train_subsets"]


class Trained(Value):
    """A finished small tune: its run, its adapter, and what training it took.

    `seconds` is wall time, self-checks and validation in it; `start_loss` is the base's loss on the validation rows,
    natural-log per token (None: not measured).
    """

    rows: int
    chain: int
    run_id: str
    adapter: str
    folder: Path
    seconds: float
    steps: int
    parameters: int
    start_loss: float | None


class Tuner(NamedTuple):
    """How a subset (rows, chain, epochs) is tuned on, and whether that tune is there already and costs no time."""

    train: Callable[[Sequence[Example], int, int], Trained]
    finished: Callable[[Sequence[Example], int, int], bool]


class TunesMeasured(NamedTuple):
    """The largest tune on the held-out rows, all on the validation rows, and the curve through them."""

    held_out: tuple[Result, ...]
    validation: tuple[Result, ...]
    curve: Curve


def require_base(spec: TrainSpec) -> None:
    """Raises RecipeError when tunes are to start from an adapter: what it has learned is no gain over the base."""
    if spec.start_from is not None:
        message = "decide compares tunes of the base with the base, so they cannot start from an adapter"
        fix = "leave it out here: --set train.start_from=null"
        raise RecipeError([Problem(message, field="train.start_from", fix=fix)])


def train_subsets(rows: Rows, options: DecideOptions, epochs: int, tuner: Tuner, budget: Budget) -> tuple[Trained, ...]:
    """Tunes of every subset that time allows, the largest first, each of `epochs` passes as a tune of all rows is."""
    sizes = subset_sizes(options, len(rows.train))
    done: list[Trained] = []
    for chain in range(options.chains):
        drawn = nested(rows.train, chain, options.seed)
        for size in sizes:
            asked = (drawn[:size], chain, epochs)
            a_row = max((each.seconds / each.rows for each in done), default=0.0)
            expected = 0.0 if tuner.finished(*asked) else a_row * size
            answering = budget.answers(len(rows.validation) * (len(done) + 1) + len(rows.held_out))
            if budget.allows(f"tune on {size:,} rows (draw {chain + 1})", expected + answering):
                done.append(tuner.train(*asked))
    return tuple(done)


async def measure_tunes(lab: Lab, rows: Rows, trained: Sequence[Trained], options: DecideOptions) -> TunesMeasured:
    """The tunes on the validation rows, the first of them on the held-out rows, and the curve."""
    held_out: list[Result] = []
    points: list[tuple[Trained, Result]] = []
    for place, tune in enumerate(trained):
        await lab.engine.load_adapter(tune.adapter, tune.folder)
        found = await lab.result(_way(tune), rows.validation, "validation")
        if found is not None:
            points.append((tune, found))
        judged = await lab.result(_way(tune), rows.held_out, "test") if place == 0 else None
        held_out += [judged] if judged is not None else []
        await lab.engine.unload_adapter(tune.adapter)
    measured = [_measured(lab, tune, result) for tune, result in points]
    curve = _curve(lab, measured, len(rows.train), options)
    return TunesMeasured(tuple(held_out), tuple(result for _, result in points), curve)


def _way(tune: Trained) -> Way:
    again = f", draw {tune.chain + 1}" if tune.chain else ""
    note = f"LoRA on {tune.rows:,} training rows, {tune.steps} steps, {tune.seconds:.0f} s"
    name = f"tuned on {tune.rows:,}{again}"
    return Way(name, "tuned", note, partial(with_prompt, text=None), tune.adapter, tune.run_id)


def _measured(lab: Lab, tune: Trained, result: Result) -> Measured:
    score = result.arm.score
    value = score.value or 0.0
    point = CurvePoint(
        rows=tune.rows,
        chain=tune.chain,
        score=value,
        low=value if score.low is None else score.low,
        high=value if score.high is None else score.high,
        seconds=tune.seconds,
        steps=tune.steps,
        run_id=tune.run_id,
    )
    metric = load_metric(lab.metric)
    return Measured(point, terms_of(metric, result.contestant.predictions, lab.labels), metric.value)


def _curve(lab: Lab, measured: Sequence[Measured], full: int, options: DecideOptions) -> Curve:
    metric, points = load_metric(lab.metric), tuple(each.point for each in measured)
    if metric.scale == "number" or metric.better == "lower":
        return Curve(points=points, failure=f"the law is for shares that rise, and {lab.metric} is none")
    whole = [each._replace(terms=np.nan_to_num(each.terms)) for each in measured]  # unscored rows count nothing
    return learning_curve(whole, full, lab.spec.confidence, options.wanted, options.seed)
