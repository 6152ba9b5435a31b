"""Answers kept by content: a run that was killed goes on where it was, and a repeated one asks for nothing."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tunesmith.types.base import digest_json

__all__ = ["FOLDER", "AnswerStore", "Kept"]

FOLDER = "answers"
"""Where they lie under home."""


class AnswerStore:
    """A folder with one file of answers for each thing that can be asked (a model with its prompt, a judge)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, identity: Mapping[str, Any]) -> Kept:
        """What is kept of the answers of `identity`; use as `with`."""
        return Kept(self._folder / f"{digest_json(dict(identity))[:32]}.jsonl", identity)


class Kept:
    """Question -> answer, in a JSONL file; each answer is a line as soon as it is had.

    Several processes may keep answers in one file: every line is appended whole under a lock. What an interruption has
    torn is no line, and is asked again.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._path, self._identity = path, dict(identity)
        self._known: dict[str, Any] = {}
        self._file = -1
        self.asked = 0
        """answers that were added here"""
        self.reused = 0
        """answers that were taken from the file"""

    def __enter__(self) -> Kept:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._known = _read(self._path)
        if not self._known:
            self._append({"identity": self._identity})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def get(self, key: str) -> Any | None:
        """The answer kept under `key`, or None."""
        found = self._known.get(key)
        self.reused += found is not None
        return found

    def put(self, key: str, answer: Any) -> None:
        """Keep a JSON value."""
        self._known[key] = answer
        self.asked += 1
        self._append({"key": key, "answer": answer})

    def _append(self, line: Mapping[str, Any]) -> None:
        content = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            end = os.lseek(self._file, 0, os.SEEK_END)
            torn = end > 0 and os.pread(self._file, 1, end - 1) != b"\n"
            os.write(self._file, b"\n" + content if torn else content)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def _read(path: Path) -> dict[str, Any]:
    """All whole lines; a torn one is none."""
    known: dict[str, Any] = {}
    with path.open("rb") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except ValueError:  # torn by an interruption: also half a character
                continue
            if isinstance(row, dict) and "key" in row:
                known[row["key"]] = row["answer"]
    return known
