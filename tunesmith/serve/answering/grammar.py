"""Grammars (llguidance's form of Lark) for answers that call tools as the model's chat template writes calls."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tunesmith.engine.engine import Constraint
from tunesmith.serve.answering.ask import Ask, Function
from tunesmith.types.tool_syntax import Part, ToolSyntax

__all__ = ["constraints_of"]

_MOST_CALLS = 32
_ANY_OBJECT = '{"type": "object"}'
_TEXT = r"/(.|\n)+/"


def constraints_of(ask: Ask, syntax: ToolSyntax | None) -> tuple[Constraint | None, ...]:
    """The constraint that `ask` means; None is an answer that nothing binds.

    Calls that are forced keep to the schemas of their tools. Only `strict` promises that, so where a schema cannot be
    enforced and is not strict, the second constraint, with any JSON object as the arguments, may take its place.
    """
    tools = ask.callable
    if not tools or syntax is None:
        return (ask.form,)
    forced = ask.choice.mode in ("required", "named")
    bound = ask.choice.names is not None or not ask.parallel or any(tool.strict for tool in tools)
    if not forced and not bound and ask.form is None:
        return (None,)
    many = ask.parallel and ask.choice.mode != "named"
    exact, loose = (_lark(ask, syntax, loose=loose, many=many) for loose in (False, True))
    return (exact,) if all(tool.strict for tool in tools) else (exact, loose)


def _lark(ask: Ask, syntax: ToolSyntax, *, loose: bool, many: bool) -> Constraint:
    calls = _calls(ask.callable, syntax, loose=loose, many=many)
    if ask.choice.mode in ("required", "named"):
        start = ["start: calls", f"calls: {_symbols(syntax.opening)} {calls[0]}"]
    elif ask.form is not None:
        start = ["start: calls | form", f"form: {_form(ask.form)}", f"calls: {_symbols(syntax.opening)} {calls[0]}"]
    else:
        start = _automatic(syntax, calls[0])
    return Constraint(kind="lark", source="\n".join([*start, *calls[1:]]))


def _automatic(syntax: ToolSyntax, rest: str) -> list[str]:
    """Text, or text and then calls. What opens a call is never text, else a call could escape its schema."""
    first = syntax.opening[0]
    if first.token is not None:
        return [f'start: TEXT? calls | TEXT | ""\nTEXT: {_TEXT}', f"calls: {_symbols(syntax.opening)} {rest}"]
    mark = first.text.split()[0]
    behind = first.text[first.text.index(mark) + len(mark) :]
    inside = _regex(mark)
    return [
        "start: lead calls | PLAIN",
        rf"lead[suffix={json.dumps(mark)}]: /(.|\n)*/",
        rf"PLAIN: /(.|\n)*/ & ~/(.|\n)*{inside}(.|\n)*/",
        f"calls: {_symbols((Part(text=behind), *syntax.opening[1:]))} {rest}",
    ]


def _calls(tools: Sequence[Function], syntax: ToolSyntax, *, loose: bool, many: bool) -> list[str]:
    """What follows the opening, and the rules it needs."""
    one = " | ".join(f"call_{index}" for index in range(len(tools)))
    more = f"({_symbols(syntax.between)} call){{0,{_MOST_CALLS - 1}}} " if many and syntax.between else ""
    rules = [f"call {more}{_symbols(syntax.closing)}", f"call: {one}"]
    for index, tool in enumerate(tools):
        name = json.dumps(tool.name)
        schema = tool.schema_text(loose=loose and not tool.strict)
        rules.append(f"call_{index}: {name} {_symbols(syntax.middle)} arguments_{index}")
        rules.append(f"arguments_{index}: %json {_with_bounded_space(schema)}")
    return rules


def _form(form: Constraint) -> str:
    if form.kind == "regex":
        return f"/{form.source}/"
    return f"%json {_with_bounded_space(form.source if form.kind == 'json_schema' else _ANY_OBJECT)}"


def _with_bounded_space(schema: str) -> str:
    """The schema with our options in the place of any of its own; a schema of another type is left to be refused."""
    found = json.loads(schema)
    if isinstance(found, dict):
        found["x-guidance"] = {"whitespace_pattern": r"[ \n\r\t]{1,64}", "lenient": False, "coerce_one_of": False}
    return json.dumps(found)


def _symbols(parts: Sequence[Part]) -> str:
    """The parts as symbols of the grammar."""
    return " ".join(filter(None, map(_symbol, parts)))


def _symbol(part: Part) -> str:
    if part.call_id:
        return "/[a-zA-Z0-9]{9}/"
    if part.token is not None:
        return f"<[{part.token}]>"
    return json.dumps(part.text, ensure_ascii=False) if part.text else ""


def _regex(text: str) -> str:
    return "".join(character if character.isalnum() else f"\\x{ord(character):02X}" for character in text)
