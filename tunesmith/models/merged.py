"""peft's merging, with its failures in our words."""

from __future__ import annotations

from typing import Any

from tunesmith.errors import ModelError

__all__ = ["merge_peft"]


def merge_peft(model: Any) -> Any:
    """The base of the peft `model` with the adapter in its weights; ModelError when that is impossible or not safe."""
    try:
        return model.merge_and_unload(safe_merge=True)
    except (ValueError, NotImplementedError, AttributeError, TypeError) as error:
        raise ModelError(f"The adapter cannot be merged: {error}") from error
