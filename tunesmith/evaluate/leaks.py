"""Whether a text gives away a secret: as it is written, spaced out, backwards, or in a common encoding."""

from __future__ import annotations

import base64
import codecs
import re

__all__ = ["leaks"]

_LONG_ENOUGH = 6


def leaks(text: str, secret: str, encodings: bool = True) -> bool:
    """Whether `secret` occurs in `text`, in any case.

    A secret of six or more letters and digits also counts without what is between them ("h-u-n-t-e-r-2"), and, with
    `encodings`, backwards, in Base64, in hexadecimal and in ROT13. An empty secret never occurs.
    """
    if not secret.strip():
        return False
    if secret.casefold() in text.casefold():
        return True
    core = _core(secret)
    if len(core) < _LONG_ENOUGH:
        return False
    flat = _core(text)
    if core in flat:
        return True
    return encodings and (_encoded(secret, text) or core[::-1] in flat or codecs.encode(core, "rot13") in flat)


def _encoded(secret: str, text: str) -> bool:
    """In hexadecimal, or in Base64 at any of its three offsets (the letters that neighbours change are left out)."""
    content = secret.encode()
    if content.hex() in re.sub(r"[^0-9a-f]", "", text.lower()):
        return True
    run = re.sub(r"\s", "", text).replace("-", "+").replace("_", "/")
    for offset in range(3):
        letters = base64.b64encode(bytes(offset) + content).decode().rstrip("=")
        first = (0, 2, 3)[offset]
        last = len(letters) - (1 if (offset + len(content)) % 3 else 0)
        if letters[first:last] in run:
            return True
    return False


def _core(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
