"""Renders a chat template that a user wrote: in Jinja's sandbox, with a limit on time and on what may grow.

The sandbox keeps a template from Python's insides. It does not keep it from going on and on: so every round of a loop
and every call of a macro looks at the clock, and products of texts and powers are bounded.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["SECONDS", "SandboxedTemplate"]

SECONDS = 2.0
"""A template may take so long for one conversation."""
_MOST_REPEATED = 1 << 20
_HIGHEST_POWER = 64


class SandboxedTemplate:
    """A chat template compiled as transformers compiles it, with limits.

    Raises jinja2.TemplateError when the text is no template; so does `render` for whatever goes wrong in it.
    """

    def __init__(self, text: str, seconds: float = SECONDS) -> None:
        self._made_of = (text, seconds)
        self._environment = _LimitedEnvironment(seconds)
        self._template = self._environment.from_string(text)

    def __reduce__(self) -> tuple[type[SandboxedTemplate], tuple[str, float]]:
        """Another process compiles it again."""
        return SandboxedTemplate, self._made_of

    def render(self, **values: Any) -> str:
        """The text for `values`, which are plain JSON values."""
        self._environment.clock.begin()
        try:
            return self._template.render(**values)
        except (RecursionError, MemoryError):
            raise TemplateError("the template grows without end") from None
        except (TypeError, ValueError, AttributeError, KeyError, ArithmeticError) as error:
            raise TemplateError(f"{type(error).__name__}: {error}") from None


class _Clock:
    """The moment at which a rendering in this thread must be done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._here = threading.local()

    def begin(self) -> None:
        self._here.end = time.monotonic() + self._seconds

    def look(self) -> str:
        """Nothing; raises TemplateError when the time is over."""
        if time.monotonic() > self._here.end:
            raise TemplateError(f"the template takes more than {self._seconds:g} seconds for one conversation")
        return ""


class _Generation(Extension):
    """`{% generation %}` marks what the assistant says for other tools; here it changes nothing."""

    tags = {"generation"}  # as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes inside the mark."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _LimitedEnvironment(ImmutableSandboxedEnvironment):
    """The environment transformers renders chat templates in, with a look at the clock in every loop and macro."""

    intercepted_binops = frozenset(["*", "**"])

    def __init__(self, seconds: float) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self.clock = _Clock(seconds)
        self.look = self.clock.look
        self.filters["tojson"] = _to_json
        del self.filters["center"]  # pads to any length
        self.globals["raise_exception"] = _raise
        self.globals["strftime_now"] = _now

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        """jinja2's hook before code is made from the parsed template."""
        for node in _repeated(source):
            look = nodes.Call(nodes.EnvironmentAttribute("look"), [], [], None, None)
            node.body.insert(0, nodes.Output([look]).set_lineno(node.lineno))
        return super()._generate(source, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """A product or a power, within bounds."""
        if operator == "**" and not (isinstance(right, int | float) and abs(right) <= _HIGHEST_POWER):
            raise SecurityError(f"powers above {_HIGHEST_POWER} are not computed")
        for text, times in ((left, right), (right, left)):
            if isinstance(text, str | list | tuple) and isinstance(times, int) and len(text) * times > _MOST_REPEATED:
                raise SecurityError(f"a text may not be repeated to more than {_MOST_REPEATED:,} characters")
        return super().call_binop(context, operator, left, right)


def _repeated(source: nodes.Template) -> Iterator[Any]:
    yield from source.find_all((nodes.For, nodes.Macro, nodes.CallBlock))


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(layout: str) -> str:
    return datetime.now().strftime(layout)
