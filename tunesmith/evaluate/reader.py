"""The contract of what reads a known set of tasks, in the files that its authors publish, as items.

Plugins lie in `tunesmith.evaluate.readers`; a suite names one in a file's entry: `files: [{path: dev, reader: mmlu}]`.
The other fields of the entry are the plugin's options.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from tunesmith.evaluate.configured import configured
from tunesmith.types.fields import PluginSpec
from tunesmith.types.suite import Item

__all__ = ["FOLDER", "Reader", "load_reader"]

FOLDER = "tunesmith.evaluate.readers"


class Reader(Protocol):
    """A reader plugin: a frozen value whose fields are its options."""

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """The items of the file or folder `path`, in its order, at most `limit` (0: all).

        `Item.type` names a plugin of `evaluate/items`: its metrics judge them unless the suite names others.

        Raises DataError with file and line of what cannot be read.
        """


def load_reader(spec: PluginSpec) -> Reader:
    """The reader that `spec` names, with its options.

    Raises NotFound with the nearest match, RecipeError with every option that is not acceptable.
    """
    return cast(Reader, configured(FOLDER, spec, "reader"))
