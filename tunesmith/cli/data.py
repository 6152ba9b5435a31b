"""tunesmith data: the prepared datasets, one by one: list, show, compare, export, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import show_json, stdout

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.prepare.report.diff import DatasetDiff
    from tunesmith.store.datasets import StoredDataset

__all__ = ["app", "diff", "export", "list_all", "show", "verify"]

app = typer.Typer(
    help="The prepared datasets: list, show, compare, export, verify.", no_args_is_help=True, rich_markup_mode=None
)

Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="The beginning of its digest, or the folder of an export.", show_default=False
    ),
]


@app.command("ls")
def list_all(as_json: AsJson = False) -> None:
    """List the datasets of this machine, the oldest first."""
    from tunesmith.store.dataset_index import all_datasets

    home = read_settings().home
    found = list(all_datasets(home))
    if as_json:
        show_json([{"path": each.path, **each.manifest.model_dump(mode="json")} for each in found])
        return
    console = stdout()
    if not found:
        console.print(f"No datasets in {home}. Make one with: tunesmith prepare RECIPE", markup=False, soft_wrap=True)
        return
    from tunesmith.cli import tables

    table = tables.grid(f"Datasets in {home / 'datasets'}", "dataset", "sources", "kind", "used", "in", "splits")
    table.columns[1].justify = table.columns[2].justify = "left"
    for each in found:
        manifest = each.manifest
        splits = " / ".join(f"{split.rows:,}" for split in manifest.splits.values())
        sources = ", ".join(dict.fromkeys(Path(source.path).name for source in manifest.sources))
        counts = (f"{manifest.ledger.rows_used:,}", f"{manifest.ledger.rows_in:,}")
        table.add_row(manifest.digest[:16], sources, manifest.shape, *counts, splits)
    console.print(table)


@app.command()
def show(
    dataset: Dataset,
    dropped: Annotated[
        str | None, typer.Option(metavar="REASON", help="Print the rows left out for this reason (or `all`) as JSONL.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a dataset's splits and ledger, or print the rows that were left out."""
    stored = _find(dataset)
    if dropped is not None:
        _print_dropped(stored, dropped)
        return
    if as_json:
        show_json({"path": stored.path, **stored.manifest.model_dump(mode="json")})
        return
    from tunesmith.cli import tables

    console = stdout()
    console.print(tables.dataset_table(stored.manifest))
    for line in tables.ledger_lines(stored.manifest):
        console.print(line, markup=False)
    for source in stored.manifest.sources:
        console.print(f"source: {source.path}, {source.format}, {source.rows:,} rows", markup=False, soft_wrap=True)
    for parent in stored.manifest.parents:
        console.print(f"parent: the dataset {parent[:16]}", markup=False)
    for name in ("report.html", "adjudication.jsonl"):
        if (stored.path / name).is_file():
            console.print(f"{name}: {stored.path / name}", markup=False, soft_wrap=True)
    _show_agreement(stored, console)


@app.command()
def diff(first: Dataset, second: Dataset, as_json: AsJson = False) -> None:
    """Compare two datasets: rows added, removed and moved, what was left out, what went in."""
    from tunesmith.prepare.report.diff import compare_datasets

    found = compare_datasets(_find(first), _find(second))
    if as_json:
        show_json({"same_rows": found.same_rows, **found.model_dump(mode="json")})
    else:
        _show_diff(found, stdout())


@app.command()
def export(
    dataset: Dataset,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where to; an earlier export there is replaced.")],
    as_json: AsJson = False,
) -> None:
    """Copy a dataset into a folder with its card, its report and the digests of all files."""
    from tunesmith.store.dataset_export import export_dataset

    folder = export_dataset(_find(dataset), to)
    files = sorted(path.name for path in folder.iterdir())
    if as_json:
        show_json({"folder": folder, "files": files})
        return
    stdout().print(f"{folder}: {', '.join(files)}", markup=False, soft_wrap=True)
    stdout().print(f"check it anywhere: tunesmith data verify {folder}", markup=False, soft_wrap=True)


@app.command()
def verify(dataset: Dataset, as_json: AsJson = False) -> None:
    """Check every byte and every count of a dataset; exit code 1 when something does not match."""
    from tunesmith.store.dataset_export import verify_dataset

    stored = _find(dataset, check=False)
    checks = verify_dataset(stored)
    wrong = [check for check in checks if check.fault]
    if as_json:
        show_json(
            {"dataset": stored.manifest.digest, "matches": not wrong, "checks": [each._asdict() for each in checks]}
        )
    else:
        from tunesmith.cli import tables

        console = stdout()
        table = tables.grid(f"Dataset {stored.manifest.digest[:16]} in {stored.path}", "file", "checked", "")
        table.columns[1].justify = table.columns[2].justify = "left"
        for check in checks:
            table.add_row(check.name, check.what, f"[red]{check.fault}[/]" if check.fault else "[green]matches[/]")
        console.print(table)
        console.print(f"{len(wrong)} of {len(checks)} checks failed" if wrong else f"all {len(checks)} checks hold")
    if wrong:
        raise typer.Exit(1)


def _find(dataset: str, *, check: bool = True) -> StoredDataset:
    from tunesmith.store.dataset_index import find_dataset

    return find_dataset(read_settings().home, dataset, check=check)


def _print_dropped(stored: StoredDataset, reason: str) -> None:
    from tunesmith.errors import NotFound, nearest

    there = [drop.reason for drop in stored.manifest.ledger.drops]
    if reason != "all" and reason not in there:
        close = nearest(reason, there)
        hint = f"{f'Did you mean {close!r}? ' if close else ''}It has: {', '.join(there) or 'none'}, or all"
        raise NotFound(f"No row of {stored.manifest.digest[:16]} was left out as {reason!r}.", hint=hint)
    for row in stored.dropped():
        if reason in ("all", row.reason):
            typer.echo(row.model_dump_json())


def _show_agreement(stored: StoredDataset, console: Console) -> None:
    from tunesmith.cli import tables
    from tunesmith.prepare.report.annotations import Annotations

    annotations = Annotations()
    for split in stored.manifest.splits:
        for row in stored.rows(split):
            annotations.add(row.content, row.source, row.line)
    for left_out in stored.dropped():
        annotations.add(left_out.content, left_out.source, left_out.line)
    found = annotations.agreement()
    if found is None:
        return
    table = tables.grid("Agreement of annotators", "", "items", "equal", "Cohen's kappa")
    for pair in found.pairs:
        kappa = "-" if pair.kappa is None else f"{pair.kappa:.3f} ± {pair.standard_error:.3f}"
        table.add_row(f"{pair.first} and {pair.second}", f"{pair.items:,}", f"{pair.equal:.1%}", kappa)
    console.print(table)
    alpha = "not defined" if found.alpha is None else f"{found.alpha:.3f}"
    console.print(
        f"Krippendorff's alpha {alpha} over {found.judged_twice:,} items judged twice or more; "
        f"{len(found.disputed):,} to decide",
        markup=False,
    )


def _show_diff(found: DatasetDiff, console: Console) -> None:
    from tunesmith.cli import tables

    title = f"{found.first[:16]} -> {found.second[:16]}"
    if found.same_rows:
        console.print(f"{title}: the same rows in the same splits", markup=False)
    table = tables.grid(title, "split", "before", "after", "added", "removed")
    for split, change in found.splits.items():
        counts = (change.before, change.after, change.added, change.removed)
        table.add_row(split, *(f"{count:,}" for count in counts))
    console.print(table)
    for way, rows in found.moved.items():
        console.print(f"moved {way}: {rows:,}", markup=False)
    for kind, counts_of in (("left out as", found.reasons), ("training rows of", found.labels)):
        for name, (before, after) in counts_of.items():
            if before != after:
                console.print(f"{kind} {name}: {before:,} -> {after:,}", markup=False)
    for name, (was, now) in found.changed.items():
        console.print(f"{name}: {was[:40] or 'none'} -> {now[:40] or 'none'}", markup=False, soft_wrap=True)
    for sign, rows_of in (("+", found.added), ("-", found.removed)):
        for place, text in rows_of.items():
            console.print(f"{sign} {place}: {text}", markup=False, soft_wrap=True)
