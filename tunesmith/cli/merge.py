"""tunesmith merge: an adapter worked into its base, as a folder that any tool can load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.adapters import find_adapter
from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import RichProgress, show_json, stdout

if TYPE_CHECKING:
    from tunesmith.settings import Settings

__all__ = ["PROBE_ROWS", "command"]

PROBE_ROWS = 16


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A release (name, name@v3, name:alias), a run's or adapter's folder.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; it must not exist yet.")],
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Type of the saved weights; auto: the base's own.")
    ] = "auto",
    quantise: Annotated[
        Literal["no", "nf4"], typer.Option(help="Round the merged weights to four bits, and measure what that loses.")
    ] = "no",
    as_json: AsJson = False,
) -> None:
    """Merge an adapter into its base and measure what rounding lost.

    The result is a complete model folder with tokenizer. The log-probabilities of up to 16 rows are compared: those of
    the run's dataset where it is still there, else a few built-in ones. Exit code: 0 faithful or degraded, 1 erased.
    """
    settings = read_settings()
    from tunesmith.models.merge import MergeOptions, merge
    from tunesmith.models.template import Renderer

    progress = RichProgress()
    adapter, base, dataset = find_adapter(model, settings, progress)
    probe = _probe(Renderer(base.path), settings, dataset)
    progress.say(f"merging {adapter} into {base.name}")
    record = merge(base, adapter, out, probe, MergeOptions(precision=precision, quantise=quantise))
    erased = record.verdict == "erased"
    if as_json:
        show_json({**record.model_dump(mode="json"), "verdict": record.verdict, "path": str(out)})
        raise typer.Exit(1 if erased else 0)
    console = stdout()
    console.print(f"{out}  {record.method.lower()} in {record.precision}: {record.verdict}", markup=False)
    console.print(
        f"log-probabilities of {record.tokens} tokens in {record.rows} rows: the adapter moved them by "
        f"{record.effect:.4g} on average, merging by {record.drift:.2g} (at most {record.largest_drift:.2g})",
        markup=False,
        soft_wrap=True,
    )
    if erased:
        console.print("The merged model has lost the tune. Serve the adapter, or save in a finer precision.")
        raise typer.Exit(1)


def _probe(renderer: object, settings: Settings, dataset: str | None) -> list[tuple[int, ...]]:
    """Token ids of the rows that are compared."""
    from tunesmith.models.merge import PROBE_CONVERSATIONS
    from tunesmith.models.template import Renderer
    from tunesmith.store.datasets import dataset_path, load_dataset
    from tunesmith.types.dataset import SPLITS

    assert isinstance(renderer, Renderer)
    conversations = list(PROBE_CONVERSATIONS)
    if dataset and dataset_path(settings.home, dataset).is_dir():
        stored = load_dataset(settings.home, dataset)
        split = next(name for name in reversed(SPLITS) if name in stored.manifest.splits)
        conversations = [example.conversation for example in stored.examples(split)[:PROBE_ROWS]]
    return [renderer.render(conversation).token_ids for conversation in conversations]
