"""The key of a home: 32 random bytes in `home/signing.key`, readable by its owner only, made when it is first needed.

Whoever can read it can sign in the name of this home.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from tunesmith.errors import TunesmithError

__all__ = ["KEY_FILE", "home_key"]

KEY_FILE = "signing.key"
_BYTES = 32


def home_key(home: Path) -> bytes:
    """The key, the same for every process; of two that make it at once the first wins.

    Raises TunesmithError when the file holds something else.
    """
    path = home / KEY_FILE
    if not path.is_file():
        home.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=home, prefix=f".{KEY_FILE}-")  # mode 0600
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write(secrets.token_hex(_BYTES))
            if not path.exists():
                os.link(draft, path)
        except FileExistsError:
            pass  # another process was first; its key counts
        finally:
            os.unlink(draft)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        hint = "Put it back from a backup, or delete it: then all waivers must be signed anew."
        raise TunesmithError(f"{path} holds no signing key.", hint=hint)
    return key
