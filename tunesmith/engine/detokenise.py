"""Tokens to text, one at a time: no half characters, no text that may still turn out to be a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = ["Codec", "Detokeniser", "Piece"]

_INCOMPLETE = "\ufffd"


class Codec(Protocol):
    """What an engine needs of the renderer: text of token ids, and the ids that end an answer."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids of the tokens that end an answer."""

    def decode(self, ids: Sequence[int], /) -> str:
        """Text of `ids`, special tokens left out."""


class Piece(NamedTuple):
    """Text that became certain, and whether a stop string was met (then nothing follows)."""

    text: str
    stopped: bool


class Detokeniser:
    """Incremental text of one answer.

    A token may end within a character (its text then ends in U+FFFD), and text may be the beginning of a stop string:
    both are withheld until the next tokens decide. The texts of all pieces joined equal the decoded answer up to
    the first stop string.
    """

    def __init__(self, codec: Codec, stop: Sequence[str] = ()) -> None:
        self._codec = codec
        self._stop = tuple(text for text in stop if text)
        self._ids: list[int] = []
        # ids[settled:decoded] are kept as left context: some decoders treat the first token of a text specially.
        self._settled = 0
        self._decoded = 0
        self._held = ""

    def push(self, token_id: int) -> Piece:
        """Take the next token and give the text that is now certain."""
        self._ids.append(token_id)
        known = self._codec.decode(self._ids[self._settled : self._decoded])
        text = self._codec.decode(self._ids[self._settled :])
        if text.endswith(_INCOMPLETE) or len(text) <= len(known):
            return Piece("", stopped=False)
        self._settled, self._decoded = self._decoded, len(self._ids)
        return self._release(text[len(known) :])

    def finish(self) -> Piece:
        """The rest of the text when no further token comes, incomplete characters shown as U+FFFD."""
        known = self._codec.decode(self._ids[self._settled : self._decoded])
        rest = self._codec.decode(self._ids[self._settled :])[len(known) :]
        self._settled = self._decoded = len(self._ids)
        piece = self._release(rest)
        if piece.stopped:
            return piece
        held, self._held = self._held, ""
        return Piece(piece.text + held, stopped=False)

    def _release(self, new: str) -> Piece:
        if not self._stop:
            return Piece(new, stopped=False)
        text = self._held + new
        found = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if found:
            self._held = ""
            return Piece(text[: min(found)], stopped=True)
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        certain = len(text) - keep
        self._held = text[certain:]
        return Piece(text[:certain], stopped=False)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
