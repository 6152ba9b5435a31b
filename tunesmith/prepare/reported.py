"""Prepare a dataset and write its report beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tunesmith.prepare.report.tokens import Shows
from tunesmith.prepare.report.write import write_report
from tunesmith.prepare.stage import Renders, prepare
from tunesmith.prepare.steps.near_duplicates import NearDuplicates
from tunesmith.prepare.workers import Workers
from tunesmith.progress import Progress
from tunesmith.store.datasets import StoredDataset
from tunesmith.types.recipe import Recipe

__all__ = ["prepare_and_report"]


class _Renderer(Renders, Shows, Protocol):
    """Renders rows, and shows their tokens."""


def prepare_and_report(
    recipe: Recipe,
    *,
    renderer: _Renderer,
    base_dir: Path,
    home: Path,
    progress: Progress,
    workers: Workers | None = None,
) -> StoredDataset:
    """The dataset of `recipe`, prepared or reused, with report.html and card.md in its folder.

    Raises what `tunesmith.prepare.stage.prepare` raises.
    """
    stored = prepare(
        recipe.prepare, renderer=renderer, base_dir=base_dir, home=home, progress=progress, workers=workers
    )
    near = NearDuplicates(of="question", action="report")
    write_report(stored, renderer, title=recipe.name, limit=recipe.prepare.max_tokens, near=near)
    return stored
