"""Remembers a model's answers on disk, so that a run that was interrupted asks for nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tunesmith.prepare.augmentation import Ask, Unmade
from tunesmith.types.base import digest_json

__all__ = ["RememberedAnswers"]


class RememberedAnswers:
    """An `Ask` over another one that keeps every answer in a JSONL file, a line as soon as it is had. Use as `with`.

    The same model, messages and options are the same question. What could not be asked is not remembered.
    """

    def __init__(self, path: Path, model: str, ask: Ask) -> None:
        self._path = path
        self._model = model
        self._ask = ask
        self._known = _read(path)
        self._pending: dict[str, asyncio.Future[None]] = {}
        self.asked = 0
        """questions that were put to the model"""
        self.remembered = 0
        """questions that were answered from the file"""

    def __enter__(self) -> RememberedAnswers:
        self._file = self._path.open("a", encoding="utf-8")
        self._file.write("\n")  # an interruption may have torn the last line
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    async def __call__(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
        """The answer, from the file or from the model."""
        key = digest_json([self._model, list(messages), dict(options)])
        if key in self._known:
            self.remembered += 1
        else:
            if key not in self._pending:
                self._pending[key] = asyncio.ensure_future(self._put(key, messages, options))
            await self._pending[key]
        said = self._known[key]
        if "unmade" in said:
            raise Unmade(said["unmade"])
        return said["text"]

    async def _put(self, key: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> None:
        self.asked += 1
        try:
            said = {"text": await self._ask(messages, options)}
        except Unmade as error:
            said = {"unmade": error.reason}
        self._known[key] = said
        self._file.write(json.dumps({"key": key, **said}) + "\n")
        self._file.flush()


def _read(path: Path) -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, str]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                continue  # torn by an interruption: the question is asked again
            known[said.pop("key")] = said
    return known
