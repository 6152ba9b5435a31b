"""The start of a run, kept beside the model by methods whose adapter cannot simply be switched off.

Full fine-tuning changes the base's own weights, and PiSSA subtracts the adapter's start from them: there the start
policy is the model with its trained tensors as they were. They are kept as a second copy and swapped in by pointer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["forget_start", "keep_start", "kept_start", "leave_start", "with_start"]

_ATTRIBUTE = "tunesmith_start"


def keep_start(model: Any) -> None:
    """Remember the trained parameters of `model` as they are now."""
    start = {name: parameter.detach().clone() for name, parameter in _trained(model).items()}
    setattr(model, _ATTRIBUTE, start)


def leave_start(model: Any) -> None:
    """Train copies of the trained parameters of `model`; the tensors they lie in now are its start, never written to.

    As many bytes as `keep_start` takes, but the base's own weights stay whole, so that other models may share them.
    """
    trained = _trained(model)
    setattr(model, _ATTRIBUTE, {name: parameter.detach() for name, parameter in trained.items()})
    for parameter in trained.values():
        parameter.data = parameter.detach().clone()


def kept_start(model: Any) -> dict[str, Tensor] | None:
    """Parameter name -> its start, or None."""
    found: dict[str, Tensor] | None = getattr(model, _ATTRIBUTE, None)
    return found


def forget_start(model: Any) -> None:
    """Give the remembered parameters up, when there are any."""
    if kept_start(model) is not None:
        setattr(model, _ATTRIBUTE, None)


@contextmanager
def with_start(model: Any) -> Iterator[None]:
    """Inside the block the trained parameters of `model` are those of its start.

    What was put on the model after that (a score head) stays as it is.
    """
    start = kept_start(model)
    if start is None:
        raise ValueError("the start of this model was not kept")
    trained = _trained(model)
    present = {name: parameter.data for name, parameter in trained.items()}
    for name, parameter in trained.items():
        parameter.data = start.get(name, parameter.data)
    try:
        yield
    finally:
        for name, parameter in trained.items():
            parameter.data = present[name]


def _trained(model: Any) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
