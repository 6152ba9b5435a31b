"""YAML documents whose every place knows its line, so that a problem can be shown where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tunesmith.errors import Problem, RecipeError, nearest

__all__ = ["Document", "Place", "kind_of", "plain", "read_document"]

Place = tuple[str | int, ...]


class Document(NamedTuple):
    """The recipe as plain data, with the line of each place."""

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


def read_document(path: Path) -> Document:
    """The mapping in the YAML file at `path`.

    Raises RecipeError with one problem when there is no file, no valid UTF-8 or YAML in it, or no mapping.
    """
    file = str(path)
    if not path.is_file():
        close = nearest(path.name, [near.name for near in path.parent.glob("*.y*ml")]) if path.parent.is_dir() else None
        fix = f"did you mean {path.parent / close}?" if close else None
        raise RecipeError([Problem("there is no such file", file=file, fix=fix)], message="No recipe to read:")
    try:
        loaded = YAML(typ="rt").load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        problem = Problem(f"byte {error.start} is not UTF-8", file=file, fix="save the file as UTF-8")
        raise RecipeError([problem]) from error
    except MarkedYAMLError as error:
        raise RecipeError([_syntax_problem(file, error)], message="The recipe is not valid YAML:") from error
    except YAMLError as error:
        raise RecipeError([Problem(str(error), file=file)], message="The recipe is not valid YAML:") from error
    if not isinstance(loaded, CommentedMap):
        problem = Problem(
            f"a recipe is a mapping of fields, found {kind_of(plain(loaded))}",
            file=file,
            line=1,
            fix="begin with `name: ...`",
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
