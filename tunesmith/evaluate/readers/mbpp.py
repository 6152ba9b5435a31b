"""mbpp: small Python programs with tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tunesmith.evaluate.task_files import field, json_rows, made
from tunesmith.types.base import Value
from tunesmith.types.suite import Item

__all__ = ["Mbpp"]

_DOCSTRING = re.compile(r"\n\s*('''|\"\"\").*?\1[ \t]*\n", re.DOTALL)


class Mbpp(Value):
    """MBPP (Austin et al. 2021, arXiv:2108.07732) in its three forms: its own JSON lines (text, test_list), its
    sanitized array (prompt, test_list), and HumanEval's form of it (prompt, entry_point, test).

    The model is asked for the whole program in one code block; in the first two forms it is shown the tests, which
    name the function.
    """

    instruction: str = "Answer with the whole program in one Python code block."

    def read(self, path: Path, limit: int) -> Iterator[Item]:
        """Code items. Raises DataError."""
        return islice((self._item(row, (path, line)) for line, row in json_rows(path)), limit or None)

    def _item(self, row: dict[str, Any], place: tuple[Path, int]) -> Item:
        written = self._completion(row, place) if "entry_point" in row else self._task(row, place)
        return made({"type": "code", "id": str(field(row, "task_id", place)), **written}, place)

    def _completion(self, row: dict[str, Any], place: tuple[Path, int]) -> dict[str, Any]:
        """The beginning of a program; the imports above its function hold for the answer, too.

        The solution is indented in another way than the docstring of the prompt, which is left out before it.
        """
        prompt, name, test = (field(row, key, place) for key in ("prompt", "entry_point", "test"))
        imports = re.findall(r"^(?:import|from)\s.*$", prompt, re.MULTILINE)
        imports += ["import math"] if "math." in test else []  # tests of this file use it without importing it
        return {
            "question": f"Complete this program:\n\n```python\n{prompt.rstrip()}\n```\n\n{self.instruction}",
            "setup": "\n".join(imports),
            "tests": [test.replace("def check(", "def check_answer("), f"check_answer({name})"],
            "answer": _DOCSTRING.sub("\n", prompt, count=1) + row.get("canonical_solution", ""),
        }

    def _task(self, row: dict[str, Any], place: tuple[Path, int]) -> dict[str, Any]:
        text = row["text"] if "text" in row else field(row, "prompt", place)
        tests = field(row, "test_list", place)
        setup = [*row.get("test_imports", ()), row.get("test_setup_code", "")]
        shown = "\n".join(tests)
        return {
            "question": f"{text}\n\nIt must pass these tests:\n\n```python\n{shown}\n```\n\n{self.instruction}",
            "setup": "\n".join(filter(None, setup)),
            "tests": tests,
            "answer": row.get("code", ""),
        }
