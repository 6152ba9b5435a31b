"""The base of every value that travels between stages: frozen, strict about unknown fields, with a content digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

__all__ = ["Value", "digest_bytes", "digest_file", "digest_files", "digest_json"]


class Value(BaseModel):
    """A frozen pydantic model that refuses unknown fields and knows the digest of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def content_digest(self) -> str:
        """SHA-256 (hex, 64 characters) of the canonical JSON of all fields."""
        return digest_json(self.model_dump(mode="json"))


def digest_bytes(content: bytes) -> str:
    """SHA-256 of `content` in hex."""
    return hashlib.sha256(content).hexdigest()


def digest_json(content: object) -> str:
    """SHA-256 of JSON with sorted keys, no spaces, UTF-8: equal values give equal digests."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(text.encode())


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in 1 MiB pieces."""
    running = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            running.update(piece)
    return running.hexdigest()


def digest_files(paths: Iterable[Path]) -> str:
    """One SHA-256 over several files, by name and content, independent of their order and folder."""
    return digest_json(sorted((path.name, digest_file(path)) for path in paths))
