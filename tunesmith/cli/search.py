"""tunesmith search: the best options of training by Optuna, on the validation rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tunesmith.cli.options import AsJson, Changes, RecipePath, command_line, options_from, overrides_of, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.search.report import SearchReport, SearchTrial

__all__ = ["command"]


class _Given(NamedTuple):
    recipe: RecipePath
    space: Annotated[
        list[str],
        typer.Option(
            "--space",
            metavar="FIELD=LOW..HIGH[:log]|VALUE,VALUE",
            help="What to vary, for example --space train.learning_rate=1e-5..1e-3:log. Repeatable.",
            show_default=False,
        ),
    ]
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials in all, those of earlier calls included.")] = 20
    metric: Annotated[str, typer.Option("--metric", help="What to optimise; else the gate's metric.")] = ""
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the values that are drawn.")] = 0
    no_pruning: Annotated[
        bool, typer.Option("--no-pruning", help="Let every trial train to its end, whatever its validation loss.")
    ] = False
    ray: Annotated[bool, typer.Option("--ray", help="Trials side by side on a Ray cluster.")] = False
    workers: Annotated[int, typer.Option("--workers", min=1, help="With --ray: how many at a time.")] = 2
    changes: Changes = None
    as_json: AsJson = False


@options_from(_Given)
def command(given: _Given) -> None:
    """Search better options of training on the validation rows.

    Optuna draws them (TPE), stops trials whose validation loss falls behind (successive halving), and optimises the
    gate's metric at each trial's best checkpoint. The test rows are out of reach. Killed and started again, it goes on
    with the very trial it was at.

    Exit code: 0 a best trial was found, 1 no trial succeeded.
    """
    settings = read_settings()  # first: it tells the libraries to be quiet
    from tunesmith.search.searching import Order
    from tunesmith.search.stage import alone, search

    work = alone
    order = Order(
        given.recipe, overrides_of(given.changes), tuple(given.space), given.metric, given.seed, not given.no_pruning
    )
    if given.ray:
        from tunesmith.search.on_ray import RayTrials

        work = RayTrials(given.workers, settings)
    report, file = search(order, given.trials, settings, RichProgress(), work)
    if given.as_json:
        show_json(report)
    else:
        _show(report, file, given)
    raise typer.Exit(1 if report.best is None else 0)


def _show(report: SearchReport, file: Path, given: _Given) -> None:
    from tunesmith.cli import tables

    names = list(dict.fromkeys(field for trial in report.trials for field in trial.options))
    title = f"{len(report.trials)} trials, {report.metric.replace('_', ' ')} on {report.rows} validation rows"
    table = tables.grid(title, "", "trial", *(field.removeprefix("train.") for field in names), "score", "loss", "run")
    for trial in report.trials:
        values = (_text(trial.options.get(field)) for field in names)
        loss = "-" if trial.validation_loss is None else f"{trial.validation_loss:.4f}"
        mark = "best" if trial.number == report.best else ""
        table.add_row(mark, str(trial.number), *values, _score(trial), loss, trial.run_id or "-")
    console = stdout()
    console.print(table)
    for trial in report.trials:
        if trial.failure:
            console.print(f"trial {trial.number} failed: {trial.failure}", style="red", markup=False)
    console.print(f"stopped early by: {report.pruning}; the test split was not looked at", markup=False)
    console.print(f"report: {file}", markup=False, soft_wrap=True)
    if report.best_trial is not None:
        best_changes = [
            *(given.changes or ()),
            *(f"{field}={_text(value)}" for field, value in report.best_trial.options.items()),
        ]
        console.print(f"next: {command_line('evaluate', given.recipe, best_changes)}", markup=False, soft_wrap=True)


def _score(trial: SearchTrial) -> str:
    if trial.value is None:
        return f"pruned after epoch {trial.epochs}" if trial.state == "pruned" else trial.state
    error = "" if trial.standard_error is None else f" ± {trial.standard_error:.3f}"
    return f"{trial.value:.4f}{error}"


def _text(value: object) -> str:
    """An option's value as it is written on the command line."""
    return value if isinstance(value, str) else json.dumps(value)
