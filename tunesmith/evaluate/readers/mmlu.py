"""mmlu: multiple choice in CSV files without (or with) a header: question, options, answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from tunesmith.evaluate.task_files import csv_rows, made, refused
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["Mmlu"]


class Mmlu(Value):
    """MMLU and sets in its form (Hendrycks et al. 2020, arXiv:2009.03300): one CSV, or a folder with one per subject.

    Each row is the question, two or more options, and the answer as a letter or an index from 0; a first row whose last
    cell is neither is a header. The slice `subject` is the file's name without _dev, _val or _test.
    """

    score: Literal["letter", "text"] = "letter"

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Multiple-choice items, subject by subject. Raises DataError."""
        files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not files:
            raise refused(path, None, "holds no CSV files")
        return islice((item for file in files for item in self._subject(file)), limit or None)

    def _subject(self, path: Path) -> Iterator[Item]:
        found = False
        subject = re.sub(r"_(dev|val|test)$", "", path.stem)
        for count, (line, cells) in enumerate(csv_rows(path)):
            if count == 0 and not re.fullmatch(r"\s*(?:[A-Za-z]|\d+)\s*", cells[-1]):
                continue
            if len(cells) < 4:
                fix = "write the question, the options and the answer"
                raise refused(path, line, f"has {len(cells)} cells, a question with two options needs four", fix)
            question, *options, answer = cells
            written = {
                "question": question.strip(),
                "options": [each.strip() for each in options],
                "answer": answer,
                "score": self.score,
            }
            item = {"type": "multiple_choice", "tags": {"subject": subject}, "id": f"{subject}-{line}"}
            found = True
            yield made({**item, **written}, (path, line))
        if not found:
            raise refused(path, None, "holds no questions")
