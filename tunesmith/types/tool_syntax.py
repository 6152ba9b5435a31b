"""How a model writes tool calls: the text around the names and arguments of the calls in its turn."""

from __future__ import annotations

from tunesmith.types.base import Value

__all__ = ["Part", "ToolSyntax"]


class Part(Value):
    """A piece of that text: literal text, a special token (its id) that no text may stand for, or the id of a call."""

    text: str = ""
    token: int | None = None
    call_id: bool = False


class ToolSyntax(Value):
    """opening NAME middle ARGUMENTS (between NAME middle ARGUMENTS)* closing; ARGUMENTS is a JSON object.

    `between` is None for models that make one call at a time.
    """

    opening: tuple[Part, ...]
    middle: tuple[Part, ...]
    between: tuple[Part, ...] | None
    closing: tuple[Part, ...]
