"""Markdown whose text, wherever it comes from, cannot become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["escaped", "table"]


def escaped(text: str) -> str:
    """`text` on one line with every character that Markdown or HTML could read as markup disarmed."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", flat)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the cells are escaped, the heads are ours."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines.extend("| " + " | ".join(escaped(str(cell)) for cell in row) + " |" for row in rows)
    return "\n".join(lines)
