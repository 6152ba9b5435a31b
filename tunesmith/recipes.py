"""Read a recipe and report everything that is wrong with it at once, each problem with its line and its fix.

YAML with line numbers -> overrides -> Recipe (types) -> plugin options -> files on disk -> a checked Recipe
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tunesmith import plugins
from tunesmith.documents import Document, Place, choices, plain, read_document, validate
from tunesmith.errors import NotFound, Problem, RecipeError, nearest
from tunesmith.model_files import place_base, read_template
from tunesmith.types.recipe import GateSpec, Recipe
from tunesmith.types.tracked import track, unread

__all__ = [
    "PLUGIN_PLACES",
    "SUITES",
    "RuleCheck",
    "check_recipe",
    "effective",
    "load_recipe",
    "load_rules",
    "suite_choices",
    "suite_file",
    "suite_names",
    "track",
    "unread",
]

METRICS = "tunesmith.evaluate.metrics"
# Where a recipe names a plugin: as a mapping {name, options}; formats by the name alone, metrics in either way, with a
# label as well. `*` is any item.
PLUGIN_PLACES: Mapping[Place, str] = MappingProxyType(
    {
        ("train", "method"): "tunesmith.models.methods",
        ("train", "objective"): "tunesmith.train.objectives",
        ("train", "grader"): "tunesmith.grade.graders",
        ("train", "trackers", "*"): "tunesmith.train.trackers",
        ("gate", "rules", "*"): "tunesmith.gate.rules",
        ("evaluate", "metrics", "*"): METRICS,
        ("prepare", "steps", "*"): "tunesmith.prepare.steps",
        ("prepare", "sources", "*", "format"): "tunesmith.prepare.formats",
    }
)
SUITES = Path(__file__).parent / "evaluate" / "suites"
"""The suites that Tunesmith ships."""
RuleCheck = Callable[[Mapping[str, Any], Path | None, Document], Sequence[Problem]]
"""Gives what is wrong with the gate rules in the data of a recipe (its files lie in the folder), whatever else is."""
_NO_OVERRIDES: Mapping[str, str] = MappingProxyType({})


def load_recipe(
    path: Path,
    overrides: Mapping[str, str] = _NO_OVERRIDES,
    say: Callable[[str], None] | None = None,
    rules: RuleCheck | None = None,
) -> Recipe:
    """The checked recipe at `path`, with every default and every plugin's default options filled in.

    `overrides` maps dotted fields to YAML values, for example `{"train.epochs": "3"}`; they replace what the file says.
    Source paths stay as written: relative to the recipe's folder. A base model that is a folder there becomes its whole
    path, since servers look for it later, from elsewhere; `say` is told when the current folder has one of that name.
    `rules` checks what only those know who evaluate and judge (`tunesmith.judging.load_judgeable` is this with it).

    Raises RecipeError carrying all problems found: syntax, unknown or missing fields, bad values, plugins and their
    options, and files that do not exist.
    """
    document = read_document(path)
    problems = _overridden(document, overrides)
    filled, found = _checked(document, path.parent, rules)
    found += place_base(filled, path.parent, document, say)
    _refuse([*problems, *found], f"recipe {path}")
    return Recipe.model_validate(filled)


def check_recipe(
    document: Document, folder: Path | None, rules: RuleCheck | None = None
) -> tuple[Recipe | None, list[Problem]]:
    """The recipe in `document` with all defaults, its paths relative to `folder`; or None and all problems, by line.

    Without a folder (a recipe whose files lie elsewhere) no file is looked for, and no template's file is read.
    """
    filled, problems = _checked(document, folder, rules)
    return (None, sorted(problems, key=_line)) if problems else (Recipe.model_validate(filled), [])


def suite_choices(written: str, folder: Path) -> str:
    """What `written` may have meant: a YAML file in `folder`, or a suite that Tunesmith ships."""
    return choices(written, [*sorted(item.name for item in folder.glob("*.y*ml")), *suite_names()])


def load_rules(path: Path, overrides: Mapping[str, str] = _NO_OVERRIDES) -> GateSpec:
    """The gate rules of the recipe at `path`, or of a file that holds nothing but `rules: [...]`.

    Raises RecipeError as `load_recipe` does.
    """
    document = read_document(path, "recipe or file of rules", "rules")
    if "rules" not in document.data:
        return load_recipe(path, overrides).gate
    problems = _overridden(document, overrides)
    spec, found = validate(GateSpec, document.data, (), document)
    if spec and not spec.rules:
        found = [document.problem(("rules",), "there is no rule to judge by", "write one, or leave no gate")]
    data = spec.model_dump(mode="json") if spec else document.data
    filled, plugin_problems = _check_plugins(data, document, {("rules", "*"): PLUGIN_PLACES["gate", "rules", "*"]})
    _refuse([*problems, *found, *plugin_problems], f"file of rules {path}")
    return GateSpec.model_validate(filled)


def _overridden(document: Document, overrides: Mapping[str, str]) -> list[Problem]:
    """Set the fields in the document; what is wrong with those that cannot be set."""
    found = (_override(document, field, text) for field, text in overrides.items())
    return [problem for problem in found if problem is not None]


def _refuse(problems: Sequence[Problem], what: str) -> None:
    if problems:
        ordered = sorted(problems, key=_line)
        count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
        raise RecipeError(ordered, message=f"The {what} has {count}:")


def _line(problem: Problem) -> int:
    return problem.line or 0


def _checked(document: Document, folder: Path | None, rules: RuleCheck | None) -> tuple[dict[str, Any], list[Problem]]:
    """The data of a recipe with all defaults, and everything that is wrong with it."""
    recipe, problems = validate(Recipe, document.data, (), document)
    data = recipe.model_dump(mode="json") if recipe else document.data
    filled, plugin_problems = _check_plugins(data, document)
    if recipe and recipe.train.start_from is not None:
        # The method is that of the adapter: only what the recipe says itself can contradict it.
        filled["train"] = _only_written_method(filled["train"], document.data["train"])
    problems += plugin_problems + (list(_check_files(data, folder, document)) if folder else [])
    problems += rules(filled, folder, document) if rules else []
    return filled, problems + (read_template(filled, folder, document) if folder else [])


def _only_written_method(train: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    return {
        name: written.get(name, value) if name == "method" else value
        for name, value in train.items()
        if name != "method" or name in written
    }


def suite_names() -> tuple[str, ...]:
    """The suites that Tunesmith ships, by name."""
    return tuple(sorted(path.stem for path in SUITES.glob("*.yaml")))


def suite_file(written: str, folder: Path) -> Path:
    """The file of the suite that somebody names: a path relative to `folder`, or the name of a shipped suite."""
    shipped = SUITES / f"{written}.yaml"
    return shipped if written in suite_names() else folder / written


def effective(recipe: Recipe) -> str:
    """The recipe with all defaults as YAML: what a run directory stores."""
    stream = StringIO()
    yaml = YAML()
    yaml.width = 120
    open_method = recipe.train.start_from is not None and "method" not in recipe.train.model_fields_set
    yaml.dump(recipe.model_dump(mode="json", exclude={"train": {"method"}} if open_method else None), stream)
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


def _check_plugins(
    data: dict[str, Any], document: Document, places: Mapping[Place, str] = PLUGIN_PLACES
) -> tuple[dict[str, Any], list[Problem]]:
    """`data` with the plugins' default options filled in, and what is wrong with the plugins it names."""
    filled = json.loads(json.dumps(data))
    problems: list[Problem] = []
    for pattern, folder in places.items():
        for place, owner, key in list(_find(filled, pattern, ())):
            chosen = owner[key]
            name = chosen.get("name") if isinstance(chosen, dict) else chosen
            if not isinstance(name, str) or (pattern[-1] == "format" and name == "auto"):
                continue
            try:
                plugin = plugins.load(folder, name)
            except NotFound:
                field = (*place, "name") if isinstance(chosen, dict) else place
                problems.append(document.problem(field, f"{name!r} is not known", choices(name, plugins.names(folder))))
                continue
            if isinstance(chosen, dict):
                ours = {"name", "label"} if folder == METRICS else {"name"}
                options = {option: value for option, value in chosen.items() if option not in ours}
                checked, found = validate(plugin, options, place, document)
                problems += found
                own = {field: chosen[field] for field in ours if field in chosen}
                owner[key] = {**own, **(checked.model_dump(mode="json") if checked else options)}
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
    for place, owner, key in _find(data, ("evaluate", "suites", "*"), ()):
        written = owner[key]
        if isinstance(written, str) and not suite_file(written, folder).is_file():
            yield document.problem(place, f"{written!r}: no such suite", suite_choices(written, folder))


def _is_more_than_a_file(path: str) -> bool:
    """Standard input, an address or a glob: what they give is known when they are read."""
    return path == "-" or "://" in path or glob.has_magic(path)
