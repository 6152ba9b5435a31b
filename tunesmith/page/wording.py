"""How names, sizes and texts are written for people."""

from __future__ import annotations

__all__ = ["duration", "name", "shorten", "size"]


def name(identifier: str) -> str:
    """'prompt_only' -> 'Prompt only', 'macro_f1' -> 'Macro F1'."""
    words = identifier.replace("_", " ").replace(" f1", " F1")
    return words[:1].upper() + words[1:]


def size(count: float) -> str:
    """Bytes in GiB or MiB: '1.92 GiB', '310 MiB'."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def shorten(text: str, limit: int = 320) -> str:
    """`text` with white space collapsed, cut at a word with an ellipsis when it is longer than `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit].rsplit(" ", 1)[0] + " \u2026"


def duration(seconds: float) -> str:
    """'340 ms', '12.4 s', '3 min 20 s'; nothing at all is '0 s'."""
    if seconds == 0:
        return "0 s"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
