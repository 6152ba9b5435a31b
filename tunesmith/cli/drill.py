"""tunesmith drill: kill the training of a recipe at random steps and prove that nothing changes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import AsJson, Changes, RecipePath, read_recipe, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from tunesmith.cli.kills import DrillReport

__all__ = ["command"]


def command(
    recipe: RecipePath,
    kills: Annotated[int, typer.Option(min=1, help="How many times a training process is killed.")] = 5,
    seed: Annotated[int | None, typer.Option(help="Repeats the steps of an earlier drill; else random.")] = None,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Prove that interrupted training loses nothing.

    Trains the recipe once undisturbed and then again in homes of its own, where the process is killed with
    SIGKILL at random steps and started again; all must end with the same adapter, byte for byte. Trackers
    are off. The homes are removed afterwards, unless something differed.

    Exit code: 0 all adapters are the same, 1 one differs.
    """
    settings, checked = read_settings(), read_recipe(recipe, changes)
    from tunesmith import pipeline
    from tunesmith.cli.kills import Scene, drill
    from tunesmith.parents import find_parent

    progress = RichProgress()
    pipeline.prepare(checked, recipe.parent, settings, progress)
    words = ["train", str(recipe.absolute())]
    parent = find_parent(checked.train, recipe.parent, settings)
    # The drill's own homes have no releases.
    begins = [f"train.start_from={parent.folder.absolute()}"] if parent else []
    for change in (*(changes or ()), "train.trackers=[]", *begins):
        words += ["--set", change]
    scratch = Path(tempfile.mkdtemp(prefix="drill-", dir=settings.home))
    keep = True
    try:
        report = drill(Scene(words, scratch, settings.home / "models"), kills, _seed(seed), progress.say)
        keep = report.different > 0
    finally:
        if not keep:
            shutil.rmtree(scratch)
        else:
            progress.say(f"what was trained stays in {scratch}")
    if as_json:
        show_json({**report.model_dump(mode="json"), "kills": report.kills, "different": report.different})
    else:
        _show(report)
    raise typer.Exit(1 if report.different else 0)


def _seed(given: int | None) -> int:
    import random

    return random.SystemRandom().randrange(1 << 31) if given is None else given


def _show(report: DrillReport) -> None:
    from tunesmith.cli import tables

    title = f"Kills in a run of {report.steps} steps (seed {report.seed})"
    table = tables.grid(title, "round", "killed after step", "resumed from", "adapter", "seconds")
    expected = report.undisturbed.adapter_digest
    table.add_row("undisturbed", "-", "-", expected[:16], f"{report.undisturbed.seconds:.1f}")
    for number, each in enumerate(report.rounds, start=1):
        struck = [kill for kill in each.kills if kill.struck]
        table.add_row(
            str(number),
            ", ".join(str(kill.last_step) for kill in struck),
            ", ".join(str(kill.checkpoint_step) for kill in struck),
            each.adapter_digest[:16] + ("" if each.adapter_digest == expected else " differs"),
            f"{each.seconds:.1f}",
        )
    console = stdout()
    console.print(table)
    verdict = f"{report.kills} kills, {report.different} of {len(report.rounds)} resumed runs different"
    console.print(verdict, style="red" if report.different else "green")
