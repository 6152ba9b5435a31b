"""Is an adapter folder the one it is said to be, and of the base that runs?"""

from __future__ import annotations

from pathlib import Path

from tunesmith.errors import ModelError
from tunesmith.models.adapter import adapter_digest, read_identity

__all__ = ["require_identity"]


def require_identity(digest: str, path: Path, base_digest: str) -> None:
    """Raise ModelError unless the adapter in `path` has `digest` and, where it says so, was tuned on `base_digest`."""
    found = adapter_digest(path)
    if found != digest:
        raise ModelError(f"The adapter in {path} has the digest {found}, not {digest}: it was changed or replaced.")
    identity = read_identity(path)
    if identity is not None and identity.base_digest != base_digest:
        raise ModelError(
            f"The adapter in {path} was tuned on the base {identity.base!r} ({identity.base_digest[:12]}); "
            f"this engine runs {base_digest[:12]}."
        )
