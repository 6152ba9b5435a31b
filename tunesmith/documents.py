"""YAML documents whose every place knows its line, so that a problem can be shown where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tunesmith.errors import Problem, RecipeError, nearest
from tunesmith.types.base import Value

__all__ = ["Document", "Place", "choices", "kind_of", "parse_document", "plain", "read_document", "validate"]

Place = tuple[str | int, ...]


class Document(NamedTuple):
    """The file as plain data, with the line of each place."""

    file: str
    data: dict[str, Any]
    lines: dict[Place, int]

    def problem(self, place: Place, message: str, fix: str | None = None) -> Problem:
        """A problem at `place`, or at the nearest place around it that stands in the file."""
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        field = ".".join(str(part) for part in place)
        return Problem(message, file=self.file, line=self.lines.get(known), field=field or None, fix=fix)


def read_document(path: Path, kind: str = "recipe", opening: str = "name") -> Document:
    """The mapping in the YAML file at `path`, a `kind` of document that begins with the field `opening`.

    Raises RecipeError with one problem when there is no file, no valid UTF-8 or YAML in it, or no mapping.
    """
    file = str(path)
    if not path.is_file():
        close = nearest(path.name, [near.name for near in path.parent.glob("*.y*ml")]) if path.parent.is_dir() else None
        fix = f"did you mean {path.parent / close}?" if close else None
        raise RecipeError([Problem("there is no such file", file=file, fix=fix)], message=f"No {kind} to read:")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(f"byte {error.start} is not UTF-8", file=file, fix="save the file as UTF-8")
        raise RecipeError([problem]) from error
    return parse_document(text, file, kind, opening)


def parse_document(text: str, file: str, kind: str = "recipe", opening: str = "name") -> Document:
    """The mapping in the YAML `text`, which `file` names in problems. Raises RecipeError as `read_document` does."""
    try:
        loaded = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        raise RecipeError([_syntax_problem(file, error)], message=f"The {kind} is not valid YAML:") from error
    except (YAMLError, ValueError, RecursionError) as error:  # the last two: a date or number that is none; too deep
        raise RecipeError([Problem(str(error), file=file)], message=f"The {kind} is not valid YAML:") from error
    if not isinstance(loaded, CommentedMap):
        problem = Problem(
            f"a {kind} is a mapping of fields, found {kind_of(plain(loaded))}",
            file=file,
            line=1,
            fix=f"begin with `{opening}: ...`",
        )
        raise RecipeError([problem])
    lines: dict[Place, int] = dict(_lines(loaded, ()))
    return Document(file, plain(loaded), lines)


def _syntax_problem(file: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = " ".join(str(error.problem or error.context).split())
    fix = "check the indentation, quotes and colons near this line"
    if "duplicate key" in message:
        message, fix = message.split(" with value")[0], "keep one of the two"
    return Problem(message, file=file, line=mark.line + 1 if mark else None, fix=fix)


def _lines(node: object, place: Place) -> Iterator[tuple[Place, int]]:
    """(place, line counted from 1) of every key and item."""
    if isinstance(node, CommentedMap):
        positions = {key: node.lc.key(key)[0] for key in node if key in (node.lc.data or {})}
        children = list(node.items())
    elif isinstance(node, CommentedSeq):
        positions = {index: node.lc.item(index)[0] for index in range(len(node))}
        children = list(enumerate(node))
    else:
        return
    for key, child in children:
        if key in positions:
            yield (*place, key), positions[key] + 1
        yield from _lines(child, (*place, key))


def plain(node: object) -> Any:
    """The YAML tree in builtin types, so that it can be validated strictly as JSON."""
    if isinstance(node, Mapping):
        return {str(key): plain(child) for key, child in node.items()}
    if isinstance(node, list):
        return [plain(child) for child in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)


def kind_of(value: object) -> str:
    """What a plain value is called by people who write YAML."""
    names = {
        dict: "a mapping",
        list: "a list",
        str: "a text",
        bool: "a truth value",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "nothing")


def validate(model: type[Value], data: object, place: Place, document: Document) -> tuple[Any | None, list[Problem]]:
    """`data`, which stands at `place`, as `model`; or None and the problems.

    Strict: `epochs: "3"` and `epochs: true` are refused.
    """
    try:
        return model.model_validate_json(json.dumps(data), strict=True), []
    except ValidationError as error:
        details = [dict(detail) for detail in error.errors()]
        return None, [_problem_of(each, model, place, document) for each in details if not _follows(each, details)]


def _follows(detail: dict[str, Any], others: list[dict[str, Any]]) -> bool:
    """Whether a list counts as too short only because its items are wrong, which is said already."""
    here: Place = detail["loc"]
    inside = (other["loc"] for other in others if len(other["loc"]) > len(here))
    return detail["type"] == "too_short" and any(place[: len(here)] == here for place in inside)


def _problem_of(detail: dict[str, Any], model: type[BaseModel], place: Place, document: Document) -> Problem:
    """One pydantic error in the words of the file's author."""
    location: Place = detail["loc"]
    value, kind, context = detail["input"], detail["type"], detail.get("ctx", {})
    here = (*place, *location)
    if kind == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        return document.problem(here, "there is no such field", choices(str(location[-1]), owner.model_fields))
    if kind == "missing":
        return document.problem(here, "is missing", "add it")
    if kind == "literal_error":
        allowed = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return document.problem(here, f"{value!r} is not allowed", choices(str(value), allowed))
    if kind == "string_pattern_mismatch":
        fix = "use lower-case letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit"
        return document.problem(here, f"{value!r} is not allowed", fix)
    if kind == "value_error":
        return document.problem(here, str(context["error"]))
    if kind == "too_short":
        least = context["min_length"]
        return document.problem(here, f"needs at least {least} {'entry' if least == 1 else 'entries'}", "add one")
    message = detail["msg"][0].lower() + detail["msg"][1:]
    meant = None
    if {context.get("lt"), context.get("le")} & {1.0} and isinstance(value, int | float) and 1 < value < 100:
        meant = f"did you mean {value / 100:g}? It is a share, not percent"
    shown = f"found {kind_of(value)}" if isinstance(value, dict | list) else f"found {json.dumps(value)}"
    return document.problem(here, f"{message.removeprefix('input ')}, {shown}", meant)


def _model_at(model: type[BaseModel], location: Place) -> type[BaseModel]:
    """The model that the fields at `location` belong to."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *get_args(annotation)]
            model = next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), model)
    return model


def choices(word: str, allowed: Any) -> str:
    """What may be written in the place of `word`, the nearest first."""
    close = nearest(word, allowed)
    listed = f"allowed: {', '.join(allowed)}" if allowed else "it takes no options"
    return f"did you mean {close!r}? {listed}" if close else listed
