"""Trains several recipes, as one rank of several: python -m tests.invariant.rank_runs HOME RECIPE ..."""

from __future__ import annotations

import gc
import sys
import warnings
from pathlib import Path

from tunesmith import pipeline
from tunesmith.garbage import search_rarely
from tunesmith.progress import Silent
from tunesmith.recipes import load_recipe
from tunesmith.settings import Settings

__all__ = ["train"]


def train(files: list[Path], home: str) -> None:
    """Each recipe in the folder `home` beside it, which may lie in the environment's team."""
    recipes = [load_recipe(file) for file in files]
    with pipeline.joined(recipes[0].train.parallel) as team:
        for file, recipe in zip(files, recipes, strict=True):
            pipeline.train(recipe, file.parent, Settings(home=file.parent / home), Silent(), team)


if __name__ == "__main__":
    search_rarely()
    gc.freeze()  # else each run looks twice through what was imported
    warnings.simplefilter("ignore")
    train([Path(name) for name in sys.argv[2:]], sys.argv[1])
