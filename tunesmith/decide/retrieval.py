"""Retrieval: the pieces of a folder's documents nearest to a question stand in its system prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tunesmith.decide.nearest import Embedder, Index, question_of
from tunesmith.decide.prompts import with_prompt
from tunesmith.errors import DataError, Problem
from tunesmith.types.base import digest_json
from tunesmith.types.dataset import Example

__all__ = ["Chunk", "Retrieval", "read_chunks"]

ENDINGS = (".md", ".txt", ".rst", ".html", ".htm", ".csv", ".json", ".jsonl", ".yaml", ".yml")
WORDS, OVERLAP = 120, 20


class Chunk(NamedTuple):
    """A piece of a document and the document's name."""

    document: str
    text: str


def read_chunks(folder: Path) -> tuple[Chunk, ...]:
    """All text files under `folder` in pieces of paragraphs, at most 120 words each (long ones overlap by 20 words).

    Raises DataError when there is no folder, no text in it, or a file that is no UTF-8.
    """
    if not folder.is_dir():
        raise DataError([Problem("is no folder", file=str(folder), fix="give the folder that holds the documents")])
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    chunks: list[Chunk] = []
    problems: list[Problem] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            problems.append(Problem(f"byte {error.start} is not UTF-8", file=str(path), fix="save it as UTF-8"))
            continue
        chunks += (Chunk(str(path.relative_to(folder)), piece) for piece in _pieces(text))
    if not chunks and not problems:
        problems.append(Problem("holds no text", file=str(folder), fix=f"files that are read: {', '.join(ENDINGS)}"))
    if problems:
        raise DataError(problems, message="The documents cannot be used:")
    return tuple(chunks)


class Retrieval:
    """Finds the chunks for a question (Lewis et al. 2020, arXiv:2005.11401, without its training)."""

    def __init__(self, embedder: Embedder, chunks: Sequence[Chunk]) -> None:
        self._chunks = chunks
        self._index = Index(embedder, [chunk.text for chunk in chunks])
        self.digest = digest_json(list(chunks))

    def row(self, example: Example, count: int, prompt: str | None, fits: Callable[[Example], bool]) -> Example:
        """`example` with up to `count` chunks in its system prompt, the nearest first: fewer where more do not fit."""
        places = self._index.nearest(question_of(example), count)
        own = prompt if prompt is not None else _system(example)
        while True:
            found = "\n\n".join(f"[{self._chunks[place].document}]\n{self._chunks[place].text}" for place in places)
            text = f"{own}\n\nUse these documents where they help:\n\n{found}".strip() if places else own
            asked = with_prompt(example, text)
            if not places or fits(asked):
                return asked
            places = places[:-1]


def _system(example: Example) -> str:
    said = (message.content or "" for message in example.conversation.prompt if message.role in ("system", "developer"))
    return "\n".join(said)


def _pieces(text: str) -> Iterator[str]:
    """Paragraphs, short ones joined and long ones cut, at most `WORDS` words each."""
    gathered: list[str] = []
    for paragraph in (part.split() for part in text.split("\n\n")):
        if gathered and len(gathered) + len(paragraph) > WORDS:
            yield " ".join(gathered)
            gathered = []
        gathered += paragraph
        while len(gathered) > WORDS:
            yield " ".join(gathered[:WORDS])
            gathered = gathered[WORDS - OVERLAP :]
    if gathered:
        yield " ".join(gathered)
