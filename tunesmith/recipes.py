"""Read a recipe and report everything that is wrong with it at once, each problem with its line and its fix.

YAML with line numbers -> overrides -> Recipe (types) -> plugin options -> files on disk -> a checked Recipe
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tunesmith import plugins
from tunesmith.documents import Document, Place, kind_of, plain, read_document
from tunesmith.errors import NotFound, Problem, RecipeError, nearest
from tunesmith.types.base import Value
from tunesmith.types.recipe import EvaluateSpec, Recipe
from tunesmith.types.tracked import track, unread

__all__ = ["PLUGIN_PLACES", "effective", "load_recipe", "track", "unread"]

# Where a recipe names a plugin: as a mapping {name, options}; metrics and formats by the name alone. `*` is any item.
PLUGIN_PLACES: Mapping[Place, str] = MappingProxyType(
    {
        ("train", "method"): "tunesmith.models.methods",
        ("train", "objective"): "tunesmith.train.objectives",
        ("train", "grader"): "tunesmith.grade.graders",
        ("train", "trackers", "*"): "tunesmith.train.trackers",
        ("gate", "rules", "*"): "tunesmith.gate.rules",
        ("evaluate", "metrics", "*"): "tunesmith.evaluate.metrics",
        ("prepare", "steps", "*"): "tunesmith.prepare.steps",
        ("prepare", "sources", "*", "format"): "tunesmith.prepare.formats",
    }
)
_NO_OVERRIDES: Mapping[str, str] = MappingProxyType({})


def load_recipe(path: Path, overrides: Mapping[str, str] = _NO_OVERRIDES) -> Recipe:
    """The checked recipe at `path`, with every default and every plugin's default options filled in.

    `overrides` maps dotted fields to YAML values, for example `{"train.epochs": "3"}`; they replace what the file says.
    Source paths stay as written: relative to the recipe's folder.

    Raises RecipeError carrying all problems found: syntax, unknown or missing fields, bad values, plugins and their
    options, and files that do not exist.
    """
    document = read_document(path)
    override_problems = [
        problem for field, text in overrides.items() if (problem := _override(document, field, text)) is not None
    ]
    recipe, problems = _validate(Recipe, document.data, (), document)
    data = recipe.model_dump(mode="json") if recipe else document.data
    filled, plugin_problems = _check_plugins(data, document)
    problems = override_problems + problems + plugin_problems + list(_check_files(data, path.parent, document))
    problems += list(_check_rules(filled, document)) + _read_template(filled, path.parent, document)
    if problems:
        ordered = sorted(problems, key=lambda problem: problem.line or 0)
        count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
        raise RecipeError(ordered, message=f"The recipe {path} has {count}:")
    return Recipe.model_validate(filled)


def effective(recipe: Recipe) -> str:
    """The recipe with all defaults as YAML: what a run directory stores."""
    stream = StringIO()
    yaml = YAML()
    yaml.width = 120
    yaml.dump(recipe.model_dump(mode="json"), stream)
    return stream.getvalue()


def _override(document: Document, field: str, text: str) -> Problem | None:
    """Set one field in the document; a Problem when the path leads through something that is no mapping or list."""
    *path, last = field.split(".")
    node: Any = document.data
    for depth, part in enumerate(path, start=1):
        if isinstance(node, dict):
            node = node.setdefault(part, _fresh(tuple(path[:depth])))
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return Problem(f"there is no {part!r} to set a field in", file="--set", field=field)
    try:
        value = plain(YAML(typ="safe").load(text))
    except YAMLError:
        return Problem(f"{text!r} is not a YAML value", file="--set", field=field, fix="quote it")
    if isinstance(node, dict):
        node[last] = value
        return None
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
        return None
    return Problem(f"there is no {last!r} to set", file="--set", field=field)


def _fresh(place: Place) -> dict[str, Any]:
    """What a mapping begins as that only an override mentions: empty, or the default plugin where one is chosen."""
    if place not in PLUGIN_PLACES:
        return {}
    stage, field = place
    default = getattr(Recipe.model_fields[str(stage)].default, str(field))
    return {} if default is None else {"name": default.name}


def _validate(model: type[Value], data: object, place: Place, document: Document) -> tuple[Any | None, list[Problem]]:
    """`data` as `model`, or None and the problems. Strict: `epochs: "3"` and `epochs: true` are refused."""
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
    """One pydantic error in the words of a recipe's author."""
    location: Place = detail["loc"]
    value, kind, context = detail["input"], detail["type"], detail.get("ctx", {})
    here = (*place, *location)
    if kind == "extra_forbidden":
        owner = _model_at(model, location[:-1])
        return document.problem(here, "there is no such field", _choices(str(location[-1]), owner.model_fields))
    if kind == "missing":
        return document.problem(here, "is missing", "add it")
    if kind == "literal_error":
        allowed = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return document.problem(here, f"{value!r} is not allowed", _choices(str(value), allowed))
    if kind == "string_pattern_mismatch":
        fix = "use lower-case letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit"
        return document.problem(here, f"{value!r} is not allowed", fix)
    if kind == "value_error":
        return document.problem(here, str(context["error"]))
    if kind == "too_short":
        least = context["min_length"]
        return document.problem(here, f"needs at least {least} {'entry' if least == 1 else 'entries'}", "add one")
    message = detail["msg"][0].lower() + detail["msg"][1:]
    shown = f"found {kind_of(value)}" if isinstance(value, dict | list) else f"found {json.dumps(value)}"
    return document.problem(here, f"{message.removeprefix('input ')}, {shown}")


def _model_at(model: type[BaseModel], location: Place) -> type[BaseModel]:
    """The model that the fields at `location` belong to."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *get_args(annotation)]
            model = next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), model)
    return model


def _choices(word: str, allowed: Any) -> str:
    close = nearest(word, allowed)
    listed = f"allowed: {', '.join(allowed)}" if allowed else "it takes no options"
    return f"did you mean {close!r}? {listed}" if close else listed


def _check_plugins(data: dict[str, Any], document: Document) -> tuple[dict[str, Any], list[Problem]]:
    """`data` with the plugins' default options filled in, and what is wrong with the plugins it names."""
    filled = json.loads(json.dumps(data))
    problems: list[Problem] = []
    for pattern, folder in PLUGIN_PLACES.items():
        for place, owner, key in list(_find(filled, pattern, ())):
            chosen = owner[key]
            name = chosen.get("name") if isinstance(chosen, dict) else chosen
            if not isinstance(name, str) or (pattern[-1] == "format" and name == "auto"):
                continue
            try:
                plugin = plugins.load(folder, name)
            except NotFound:
                field = (*place, "name") if isinstance(chosen, dict) else place
                problems.append(
                    document.problem(field, f"{name!r} is not known", _choices(name, plugins.names(folder)))
                )
                continue
            if isinstance(chosen, dict):
                options = {option: value for option, value in chosen.items() if option != "name"}
                checked, found = _validate(plugin, options, place, document)
                problems += found
                owner[key] = {"name": name, **(checked.model_dump(mode="json") if checked else options)}
    return filled, problems


def _find(node: Any, pattern: Place, place: Place) -> Iterator[tuple[Place, Any, Any]]:
    """(place, container, key) of everything in `node` that `pattern` names."""
    first, *rest = pattern
    keys: list[Any] = []
    if isinstance(node, list) and first == "*":
        keys = list(range(len(node)))
    elif isinstance(node, dict) and first in node:
        keys = [first]
    for key in keys:
        if rest:
            yield from _find(node[key], tuple(rest), (*place, key))
        else:
            yield (*place, key), node, key


def _check_files(data: dict[str, Any], folder: Path, document: Document) -> Iterator[Problem]:
    for place, owner, key in _find(data, ("prepare", "sources", "*", "path"), ()):
        path = owner[key]
        if not isinstance(path, str) or _is_more_than_a_file(path) or (folder / path).exists():
            continue
        beside = (folder / path).parent
        near = nearest(Path(path).name, [item.name for item in beside.iterdir()]) if beside.is_dir() else None
        fix = f"did you mean {str(Path(path).with_name(near))!r}?" if near else f"paths are relative to {folder}"
        yield document.problem(place, f"{path!r}: no such file", fix)


def _is_more_than_a_file(path: str) -> bool:
    """Standard input, an address or a glob: what they give is known when they are read."""
    return path == "-" or "://" in path or glob.has_magic(path)


def _read_template(data: dict[str, Any], folder: Path, document: Document) -> list[Problem]:
    """Put the text of a template's file in place of its path, so that the recipe says everything itself."""
    model = data.get("model")
    given = model.get("template") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(given, str) or not given.endswith(".jinja"):
        return []
    try:
        model["template"] = (folder / given).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        fix = f"paths are relative to {folder}"
        return [document.problem(("model", "template"), f"{given!r} cannot be read: {error}", fix)]
    return []


def _check_rules(data: dict[str, Any], document: Document) -> Iterator[Problem]:
    """Gate rules may only judge what the evaluation measures."""
    evaluate, gate = data.get("evaluate"), data.get("gate")
    asked = {**EvaluateSpec().model_dump(mode="json"), **(evaluate if isinstance(evaluate, dict) else {})}
    rules: Any = gate.get("rules") if isinstance(gate, dict) else None
    if not all(isinstance(part, list) for part in (asked["metrics"], asked["compare"], rules)):
        return  # reported already, or the default rules
    measured = {"metric": asked["metrics"], "model": asked["compare"], "baseline": asked["compare"]}
    for index, rule in enumerate(rules):
        if not isinstance(rule, dict):
            continue
        for option, available in measured.items():
            if isinstance(rule.get(option), str) and rule[option] not in available:
                where = "evaluate.metrics" if option == "metric" else "evaluate.compare"
                fix = f"add it to {where}, or choose one of: {', '.join(map(str, available))}"
                yield document.problem(("gate", "rules", index, option), f"{rule[option]!r} is not measured", fix)
