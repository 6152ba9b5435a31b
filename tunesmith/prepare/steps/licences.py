"""Carries the licence of each row along, in one spelling, and keeps only those that are allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import Field

from tunesmith.prepare.step import Finding, Outcome
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Licences"]

# How people write them -> SPDX identifier (https://spdx.org/licenses), compared without case, spaces and signs.
_SPDX: Mapping[str, str] = MappingProxyType(
    {
        "".join(filter(str.isalnum, spelling.lower())): identifier
        for identifier, spellings in {
            "Apache-2.0": ("Apache-2.0", "Apache 2", "Apache License 2.0", "Apache License, Version 2.0"),
            "BSD-2-Clause": ("BSD-2-Clause", "BSD 2"),
            "BSD-3-Clause": ("BSD-3-Clause", "BSD 3", "BSD"),
            "CC0-1.0": ("CC0-1.0", "CC0", "public domain"),
            "CC-BY-3.0": ("CC-BY-3.0",),
            "CC-BY-4.0": ("CC-BY-4.0", "CC BY"),
            "CC-BY-NC-4.0": ("CC-BY-NC-4.0", "CC BY NC"),
            "CC-BY-NC-SA-4.0": ("CC-BY-NC-SA-4.0", "CC BY NC SA"),
            "CC-BY-SA-3.0": ("CC-BY-SA-3.0",),
            "CC-BY-SA-4.0": ("CC-BY-SA-4.0", "CC BY SA"),
            "GPL-3.0-only": ("GPL-3.0-only", "GPL-3.0", "GPLv3", "GPL 3"),
            "MIT": ("MIT", "MIT License"),
            "ODC-By-1.0": ("ODC-By-1.0", "ODC-BY"),
        }.items()
        for spelling in spellings
    }
)
_FIELDS = ("licence", "license", "licenses")


class Licences(Value):
    """The licence in a row's metadata (licence, license), else `default`, kept as its SPDX identifier under `license`.

    With `allow`, rows of another licence are dropped as licence_not_allowed and rows of none as no_licence. A finding
    `licence` names what each row has.
    """

    allow: tuple[str, ...] = Field(default=(), examples=[["MIT", "CC-BY-4.0"]])
    default: str = ""

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The look at one row's metadata; opens nothing."""
        allowed = frozenset(map(_spdx, self.allow))

        def carry(row: Row) -> Outcome:
            given = next((row.metadata[field] for field in _FIELDS if row.metadata.get(field)), self.default)
            if not given:
                return Outcome(None, "no_licence") if allowed else Outcome(row)
            licence = _spdx(given)
            findings = (Finding("licence", licence),)
            if allowed and licence not in allowed:
                return Outcome(None, "licence_not_allowed", findings)
            if row.metadata.get("license") == licence:
                return Outcome(row, findings=findings)
            return Outcome(row.model_copy(update={"metadata": {**row.metadata, "license": licence}}), findings=findings)

        return carry


def _spdx(text: str) -> str:
    return _SPDX.get("".join(filter(str.isalnum, text.lower())), text.strip())
