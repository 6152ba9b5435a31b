"""attacks: rows of one item type, each as it is and under attacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import field_validator

from tunesmith import plugins
from tunesmith.errors import TunesmithError
from tunesmith.evaluate.attack import FOLDER, attacked, load_attack
from tunesmith.evaluate.readers.rows import Rows
from tunesmith.types.fields import PluginSpec
from tunesmith.types.suite import Item

__all__ = ["Attacked"]


class Attacked(Rows):
    """`type`, `columns` and `tags` are those of the reader `rows`; `attacks` names attacks, with their options where a
    mapping is written (none named: all). `limit` counts rows, and each row has one item more than there are disguises.
    """

    attacks: tuple[PluginSpec, ...] = ()

    @field_validator("attacks", mode="before")
    @classmethod
    def _from_names(cls, given: object) -> object:
        if not isinstance(given, list | tuple):
            return given
        return [{"name": each} if isinstance(each, str) else each for each in given]

    @field_validator("attacks")
    @classmethod
    def _exist(cls, given: tuple[PluginSpec, ...]) -> tuple[PluginSpec, ...]:
        try:
            for spec in given:
                load_attack(spec)
        except TunesmithError as error:
            raise ValueError(str(error)) from error
        return given

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Each row's item, then its disguises, attack by attack."""
        named = self.attacks or tuple(PluginSpec(name=name) for name in plugins.names(FOLDER))
        attacks = [load_attack(spec) for spec in named]
        for item in super().read(path, limit):
            yield from attacked(item, attacks)
