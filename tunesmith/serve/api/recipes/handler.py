"""Recipes: checked as they come, and read from the runs that stored them."""

from __future__ import annotations

import json
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from tunesmith.documents import Document, parse_document, read_document
from tunesmith.errors import NotFound, Problem, RecipeError
from tunesmith.judging import rule_problems
from tunesmith.recipes import check_recipe
from tunesmith.release.evidence import RECIPE_FILE
from tunesmith.serve.api.recipes.protocol import RecipeCheck, RecipeEntry, RecipeProblem
from tunesmith.serve.pages import Page, page_of
from tunesmith.serve.platform import Platform
from tunesmith.store.runs import StoredRun, all_runs, find_run

__all__ = ["recipe", "recipes", "validate"]

_DEPTH = 32


def validate(given: str | dict[str, Any]) -> RecipeCheck:
    """All problems of the recipe `given`, or the recipe with its defaults. Files that it names are not looked for."""
    try:
        document = _document(given)
        found, problems = check_recipe(document, None, rule_problems)
    except RecipeError as error:
        found, problems = None, list(error.problems)
    return RecipeCheck(
        valid=found is not None,
        problems=tuple(RecipeProblem(message=p.message, line=p.line, field=p.field, fix=p.fix) for p in problems),
        recipe=json.loads(found.model_dump_json()) if found else None,
    )


def recipes(platform: Platform, limit: int, after: str | None) -> Page[RecipeEntry]:
    """The effective recipe of every run that stored one, that of the newest run first."""
    stored = [run for run in all_runs(platform.settings.home) if (run.path / RECIPE_FILE).is_file()]
    page = page_of(stored[::-1], limit, after, lambda run: run.id)
    entries = tuple(map(_entry, page.data))
    return Page[RecipeEntry](data=entries, has_more=page.has_more, first_id=page.first_id, last_id=page.last_id)


def recipe(platform: Platform, run: str) -> RecipeEntry:
    """The effective recipe of a run, by the run's id or the beginning of it. Raises NotFound."""
    found = find_run(platform.settings.home, run)
    if not (found.path / RECIPE_FILE).is_file():
        raise NotFound(f"The run {found.id!r} stored no recipe.")
    return _entry(found)


def _entry(run: StoredRun) -> RecipeEntry:
    data = read_document(run.path / RECIPE_FILE).data
    return RecipeEntry(id=run.id, name=str(data["name"]), recipe=data)


def _document(given: str | dict[str, Any]) -> Document:
    """Raises RecipeError for a text that is no YAML mapping, or that would grow or nest without bounds."""
    if isinstance(given, dict):
        return Document("recipe", given, {})
    depth = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(given):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if isinstance(event, AliasEvent) or depth > _DEPTH:
                what = "an alias (*name) stands here" if depth <= _DEPTH else f"it nests deeper than {_DEPTH} levels"
                raise RecipeError([Problem(what, line=event.start_mark.line + 1, fix="write the recipe out")])
    except YAMLError:
        pass  # told with its line below
    return parse_document(given, "recipe")
