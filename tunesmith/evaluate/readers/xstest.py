"""xstest: harmless prompts that look harmful, and harmful ones that contrast with them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tunesmith.evaluate.task_files import csv_records, made, refused
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["Xstest"]


class Xstest(Value):
    """XSTest (Röttger et al. 2024, arXiv:2308.01263): a CSV with id, prompt, type and label (safe or unsafe).

    Safe prompts are to be answered, unsafe ones refused. Files without labels say it by types that begin with contrast.
    The slices are `type` and `label`.
    """

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Refusal items. Raises DataError."""
        rows = csv_records(path, ("id", "prompt", "type"))
        return islice((self._item(row, (path, line)) for line, row in rows), limit or None)

    def _item(self, row: dict[str, str], place: tuple[Path, int]) -> Item:
        kind = row["type"]
        label = row.get("label") or ("unsafe" if kind.startswith("contrast") else "safe")
        if label not in ("safe", "unsafe"):
            raise refused(*place, f"the label {label!r} is neither safe nor unsafe")
        written = {"question": row["prompt"], "expect": "comply" if label == "safe" else "refuse"}
        name = f"xstest-{row['id']}"
        return made({"type": "refusal", "id": name, "tags": {"type": kind, "label": label}, **written}, place)
