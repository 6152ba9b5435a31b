"""tunesmith leak: does a tuned model give its training rows away?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from tunesmith.cli.adapters import Adapter, find_adapter
from tunesmith.cli.options import AsJson, options_from, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.evaluate.canaries import Canary, Exposure
    from tunesmith.evaluate.memorisation import LeakOptions, LeakReport
    from tunesmith.types.dataset import Example

__all__ = ["Flags", "command"]


class Flags(NamedTuple):
    """What is tried, on how many rows."""

    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A release (name, name@v3, name:alias), or a run's folder.")
    ]
    canaries: Annotated[
        Path | None, typer.Option(help="The secrets that `tunesmith canaries` wrote.", show_default=False)
    ] = None
    rows: Annotated[int, typer.Option(min=1, help="Training rows, and as many held-out ones, that are tried.")] = 200
    given: Annotated[float, typer.Option(min=0.0, max=0.99, help="Share of the answer that is shown.")] = 0.5
    least: Annotated[int, typer.Option(min=1, help="Answers with fewer tokens left are not tried.")] = 8
    seed: Annotated[int, typer.Option(help="Draws the rows.")] = 0
    as_json: AsJson = False


@options_from(Flags)
def command(flags: Flags) -> None:
    """Continue training rows, and see what is remembered.

    Training rows and held-out ones are begun and continued by the tuned model and by its base: what the model knows
    beyond both controls, it has from its training rows. Canaries are ranked among the codes they might have been.
    """
    settings, progress = read_settings(), RichProgress()
    from tunesmith.evaluate.canaries import read_canaries
    from tunesmith.evaluate.memorisation import LeakOptions

    canaries = read_canaries(flags.canaries) if flags.canaries else ()
    adapter = find_adapter(flags.model, settings, progress)
    splits = _splits(adapter, settings.home)
    options = LeakOptions(rows=flags.rows, given=flags.given, least=flags.least, seed=flags.seed)
    report, exposed = asyncio.run(_measure(flags.model, adapter, splits, options, canaries))
    if flags.as_json:
        show_json({**report.model_dump(mode="json"), "canaries": [each.model_dump(mode="json") for each in exposed]})
        return
    _show(report, exposed)


def _splits(adapter: Adapter, home: Path) -> tuple[Sequence[Example], Sequence[Example]]:
    """(training rows, held-out rows) of the dataset that the adapter was tuned on."""
    from tunesmith.errors import NotFound
    from tunesmith.store.datasets import dataset_path, load_dataset
    from tunesmith.types.dataset import SPLITS

    if adapter.dataset is None or not dataset_path(home, adapter.dataset).is_dir():
        raise NotFound(
            "The dataset that this adapter was tuned on is not here.",
            hint="Name a release or a run of this machine; tunesmith prepare makes a run's dataset anew.",
        )
    stored = load_dataset(home, adapter.dataset)
    held_out = [name for name in reversed(SPLITS) if name != "train" and name in stored.manifest.splits]
    return stored.examples("train"), stored.examples(held_out[0]) if held_out else ()


async def _measure(
    model: str,
    adapter: Adapter,
    splits: tuple[Sequence[Example], Sequence[Example]],
    options: LeakOptions,
    canaries: Sequence[Canary],
) -> tuple[LeakReport, list[Exposure]]:
    from tunesmith.engine.backend import start_engine
    from tunesmith.evaluate.canaries import exposures
    from tunesmith.evaluate.memorisation import continued, leak_report
    from tunesmith.measurement import measuring_engine
    from tunesmith.models.adapter import adapter_digest
    from tunesmith.models.template import Renderer

    progress, renderer = RichProgress(), Renderer(adapter.base.path)
    engine = start_engine(measuring_engine(options.concurrency, "auto"), adapter.base.path)
    try:
        digest = adapter_digest(adapter.folder)
        await engine.load_adapter(digest, adapter.folder)
        found: list[Any] = [
            [await continued(engine, renderer, who, rows, options, progress) if rows else [] for rows in splits]
            for who in (digest, None)
        ]
        exposed = await exposures(engine, renderer, digest, canaries, progress) if canaries else []
    finally:
        await engine.close()
    return leak_report(model, options, tuple(found[0]), tuple(found[1])), exposed


def _show(report: LeakReport, exposed: Sequence[Exposure]) -> None:
    console = stdout()
    table = Table("", "training rows", "held-out rows", box=None)
    for name, members, controls in (
        ("tuned", report.members, report.controls),
        ("base", report.base_members, report.base_controls),
    ):
        cells = (
            "none" if one.rate is None else f"{one.exact} of {one.rows} ({one.low:.1%} to {one.high:.1%})"
            for one in (members, controls)
        )
        table.add_row(name, *cells)
    console.print("continued token for token:")
    console.print(table)
    if report.excess is not None:
        console.print(f"excess {report.excess:+.1%}, interval {report.excess_low:+.1%} to {report.excess_high:+.1%}")
    if report.membership_auc is not None:
        console.print(f"training rows told from held-out ones: AUC {report.membership_auc:.3f} (0.5: by chance)")
    for each in exposed:
        console.print(
            f"canary of {each.owner}, told {each.rows} times: rank {each.rank} of {each.codes}, exposure "
            f"{each.bits:.1f} bits (as good without having seen it: {each.chance:.1%})",
            soft_wrap=True,
        )
