"""Keys as `/v1/tunesmith/keys` takes and gives them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunesmith.types.base import Value
from tunesmith.types.key import GrantRequest, Key

__all__ = ["KeyCreated", "KeyObject", "KeyRequest", "RotateRequest"]


class KeyRequest(GrantRequest):
    """What the new key may do. Its name is kept, and no text that is kept has a zero byte."""

    name: str = Field(default="key", min_length=1, max_length=64, pattern=r"^[^\x00]*$")


class RotateRequest(Value):
    """For how many seconds the old key goes on beside the new one (default: a day, at most 30 days)."""

    overlap_seconds: int = Field(default=86_400, ge=0, le=2_592_000)


class KeyObject(Key):
    """What is known of a key. The key itself is not kept."""

    object: Literal["tunesmith.key"] = "tunesmith.key"


class KeyCreated(KeyObject):
    """A new key; `key` is shown this once."""

    key: str
