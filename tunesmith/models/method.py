"""The contract of a method: which parameters adapt, and how. Plugins lie in `tunesmith.models.methods`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from tunesmith.types.base import Value

__all__ = ["Method"]


class Method(Value):
    """A frozen set of options that can wrap a base model with trainable parameters."""

    @abstractmethod
    def wrap(self, model: Any, seed: int) -> Any:
        """Return `model` (a transformers causal language model) as a peft model, initialised from `seed`."""
