"""A source's own system prompt: the same for all its rows, or by what a field of the row says (language, domain)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import DataError, Problem, nearest
from tunesmith.prepare.format import Format
from tunesmith.prepare.labels import with_system
from tunesmith.types.preference import Row
from tunesmith.types.preparation import SystemSpec

__all__ = ["Opening", "opening"]


def opening(form: Format, system: str | SystemSpec | None) -> Format:
    """`form`, whose rows open with the source's system prompt where it has one."""
    if system is None:
        return form
    if isinstance(system, str):
        return Opening(form, system, {}, "")
    return Opening(form, system.otherwise, dict(system.prompts), system.by)


@dataclass(frozen=True)
class Opening:
    """A format whose rows open with a system prompt: the one of the value of the field `by`, else `otherwise`."""

    form: Format
    otherwise: str | None
    prompts: Mapping[str, str]
    by: str

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has."""
        return self.form.keys

    def score(self, row: Mapping[str, Any]) -> float:
        """As the format itself."""
        return self.form.score(row)

    def parse(self, row: Mapping[str, Any]) -> Row:
        """What the row says, behind its system prompt. Raises DataError: no system prompt is meant for the row."""
        return with_system(self.form.parse(row), self._chosen(row))

    def _chosen(self, row: Mapping[str, Any]) -> str:
        value = row.get(self.by)
        prompt = self.prompts.get(str(value), self.otherwise)
        if prompt is not None:
            return prompt
        close = nearest(str(value), self.prompts)
        meant = f"did you mean {close!r}? " if close else ""
        fix = f"{meant}there are prompts for {', '.join(self.prompts)}; add one, or system.otherwise"
        message = "is missing" if value is None else f"{str(value)[:40]!r} has no system prompt"
        raise DataError([Problem(message, field=self.by, fix=fix)])
