"""An engine and a byte codec that need no files at all: `echo_engine({"charged twice": "duplicate"})`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.engine.backends._replay import EchoEngine

__all__ = ["ByteCodec", "echo_engine"]


class ByteCodec:
    """One token per UTF-8 byte; id 256 ends a turn."""

    stop_ids: frozenset[int] = frozenset({256})

    def decode(self, ids: Sequence[int], /) -> str:
        """Text of `ids`, incomplete characters as U+FFFD."""
        return bytes(token for token in ids if token < 256).decode("utf-8", errors="replace")

    def answer_ids(self, text: str, /) -> tuple[int, ...]:
        """Bytes of `text` and the end of the turn."""
        return (*text.encode(), 256)


def echo_engine(answers: Mapping[str, str] | None = None, *, length: int = 8, delay_seconds: float = 0.0) -> EchoEngine:
    """An `EchoEngine` over bytes."""
    return EchoEngine(
        ByteCodec(), answers=answers or {}, length=length, context=4096, vocabulary=257, delay_seconds=delay_seconds
    )
