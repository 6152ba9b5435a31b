"""Releases, datasets and runs as they lie on disk. All of it is for admins: it belongs to the server, to no project."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tunesmith.errors import NotFound
from tunesmith.release.registry import Registry
from tunesmith.serve.api.home.protocol import (
    DatasetEntry,
    DroppedEntry,
    MetricsEntry,
    ReleaseDetail,
    ReleaseEntry,
    RunEntry,
)
from tunesmith.serve.failures import ApiError
from tunesmith.serve.pages import Page, page_of
from tunesmith.serve.platform import Platform
from tunesmith.store.dataset_index import all_datasets, find_dataset
from tunesmith.store.runs import StoredRun, all_runs, find_run
from tunesmith.types.base import Value
from tunesmith.types.dataset import DatasetManifest
from tunesmith.types.decision import Decision
from tunesmith.types.release import Release
from tunesmith.types.report import EvaluationReport
from tunesmith.types.run import RunRecord

__all__ = [
    "dataset",
    "datasets",
    "dropped_rows",
    "follow_metrics",
    "metrics",
    "page_file",
    "release",
    "releases",
    "run",
    "runs",
]

METRICS_FILE = "metrics.jsonl"
REPORT_FILE = "report.html"
_POLL_SECONDS = 0.5

Kind = TypeVar("Kind", bound=Value)


def releases(platform: Platform, limit: int, after: str | None) -> Page[ReleaseEntry]:
    """Every release, by name and version."""
    registry = _registry(platform)
    found = registry.list()
    aliases = {name: registry.aliases(name) for name in {each.name for each in found}}
    entries = [_entry(each, aliases[each.name]) for each in found]
    return page_of(entries, limit, after, lambda entry: entry.id)


def release(platform: Platform, reference: str) -> ReleaseDetail:
    """One release by reference (`name@v3`, `name:alias`, name) or id, with its evidence."""
    registry = _registry(platform)
    found = registry.get(reference)
    aliases = registry.aliases(found.name)
    folder = Path(found.adapter_path).parent
    return ReleaseDetail(
        **dict(_entry(found, aliases)),
        run=_evidence(folder / "run.json", RunRecord),
        report=_evidence(folder / "report.json", EvaluationReport),
        decision=_evidence(folder / "decision.json", Decision),
        dataset=_evidence(folder / "dataset.json", DatasetManifest),
        history=tuple(move for alias in aliases for move in registry.history(found.name, alias)),
    )


def datasets(platform: Platform, limit: int, after: str | None) -> Page[DatasetEntry]:
    """Every prepared dataset, the newest first."""
    found = [DatasetEntry(id=each.manifest.digest, manifest=each.manifest) for each in all_datasets(_home(platform))]
    return page_of(found[::-1], limit, after, lambda entry: entry.id)


def dataset(platform: Platform, name: str) -> DatasetEntry:
    """One dataset by its digest or the beginning of it."""
    found = find_dataset(_home(platform), _plain(name), check=False)
    return DatasetEntry(id=found.manifest.digest, manifest=found.manifest)


def dropped_rows(platform: Platform, name: str, limit: int, after: str | None) -> Page[DroppedEntry]:
    """The rows that were left out of a dataset, in the order of the ledger; read up to the page's end only."""
    found = find_dataset(_home(platform), _plain(name), check=False)
    start = _place(after)
    rows = list(islice(found.dropped(), start, start + limit + 1))
    entries = tuple(DroppedEntry(id=str(start + place), row=row) for place, row in enumerate(rows[:limit], 1))
    ends = (entries[0].id, entries[-1].id) if entries else (None, None)
    return Page[DroppedEntry](data=entries, has_more=len(rows) > limit, first_id=ends[0], last_id=ends[1])


def runs(platform: Platform, limit: int, after: str | None) -> Page[RunEntry]:
    """Every run, the newest first."""
    found = [_run_entry(each) for each in all_runs(_home(platform))]
    return page_of(found[::-1], limit, after, lambda entry: entry.id)


def run(platform: Platform, name: str) -> RunEntry:
    """One run by its id or the beginning of it."""
    return _run_entry(find_run(_home(platform), name))


def metrics(platform: Platform, name: str, limit: int, after: str | None) -> Page[MetricsEntry]:
    """What a run measured at its steps, in order."""
    found = find_run(_home(platform), name)
    return page_of(_read_lines(found.path / METRICS_FILE, 0), limit, after, lambda entry: entry.id)


async def follow_metrics(platform: Platform, name: str) -> AsyncGenerator[str, None]:
    """The metrics as server-sent events, those to come too, until the run has finished; then `[DONE]`.

    Raises NotFound before the first event when there is no such run.
    """
    found = await asyncio.to_thread(find_run, _home(platform), name)
    return _followed(platform, found)


async def _followed(platform: Platform, found: StoredRun) -> AsyncGenerator[str, None]:
    sent = 0
    while True:
        finished = (await asyncio.to_thread(find_run, _home(platform), found.id)).record is not None
        for entry in await asyncio.to_thread(_read_lines, found.path / METRICS_FILE, sent):
            yield f"data: {entry.model_dump_json()}\n\n"
            sent += 1
        if finished:
            yield "data: [DONE]\n\n"
            return
        await asyncio.sleep(_POLL_SECONDS)


def page_file(platform: Platform, kind: str, name: str) -> Path:
    """The HTML report of a run or a dataset. Raises NotFound when there is none."""
    home = _home(platform)
    folder = find_run(home, name).path if kind == "run" else find_dataset(home, _plain(name), check=False).path
    if not (folder / REPORT_FILE).is_file():
        raise NotFound(f"The {kind} {name!r} has no report yet.")
    return folder / REPORT_FILE


def _home(platform: Platform) -> Path:
    return platform.settings.home


def _registry(platform: Platform) -> Registry:
    return Registry(_home(platform), platform.database)


def _entry(found: Release, aliases: dict[str, int]) -> ReleaseEntry:
    pointing = tuple(alias for alias, version in sorted(aliases.items()) if version == found.version)
    return ReleaseEntry(id=found.identity(), reference=found.reference, aliases=pointing, release=found)


def _evidence(path: Path, kind: type[Kind]) -> Kind | None:
    """None for a release that was registered without it."""
    return kind.model_validate_json(path.read_bytes()) if path.is_file() else None


def _run_entry(found: StoredRun) -> RunEntry:
    status = "unfinished" if found.record is None else "finished"
    return RunEntry.model_validate({"id": found.id, "status": status, "record": found.record})


def _plain(name: str) -> str:
    """`name` as a digest: the command line takes folders as well, a request must not."""
    if not all(character in "0123456789abcdef" for character in name):
        raise NotFound(f"{name!r} is no digest of a dataset.", hint="GET /v1/tunesmith/datasets lists them.")
    return name


def _place(after: str | None) -> int:
    if after is None:
        return 0
    if not after.isascii() or not after.isdigit():
        raise ApiError(400, f"Invalid value for 'after': {after!r} is no place in the list.", param="after")
    return int(after)


def _read_lines(path: Path, start: int) -> list[MetricsEntry]:
    return list(_lines(path, start))


def _lines(path: Path, start: int) -> Iterator[MetricsEntry]:
    """Complete lines from the one with the index `start` on; a line that is being written has no end yet."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as stream:
        for index, line in enumerate(stream):
            if index < start or not line.endswith("\n"):
                continue
            data: dict[str, Any] = json.loads(line)
            yield MetricsEntry(id=str(index), step=int(data.pop("step")), data=data)
