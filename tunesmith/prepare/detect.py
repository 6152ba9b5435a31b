"""Finds the format of a file from the keys of its rows, or says exactly what to write in the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NoReturn, cast

from tunesmith import plugins
from tunesmith.errors import DataError, NotFound, Problem, nearest
from tunesmith.prepare.format import Format
from tunesmith.prepare.table import Row
from tunesmith.types.recipe import ColumnMapping, SourceSpec

__all__ = ["FOLDER", "choose_format"]

FOLDER = "tunesmith.prepare.formats"

_LOOKED_AT = 200
_OTHER_NAMES: Mapping[str, str] = {
    "alpaca": "instruction",
    "openai": "chat",
    "messages": "chat",
    "chatml": "chat",
    "vicuna": "sharegpt",
    "csv": "columns",
    "dpo": "preference",
    "pairs": "preference",
    "labelled": "kto",
    "squad": "qa",
    "pretrain": "text",
    "plain": "text",
    "tools": "tool_use",
}
_PROMPT_NAMES = ("question", "text", "prompt", "input", "query", "sentence", "utterance", "instruction", "column_1")
_LOOSE_NAMES = ("columns", "prompts", "text")  # one short key each: anything is near it
_ANSWER_NAMES = ("answer", "label", "category", "intent", "completion", "output", "response", "target", "column_2")


def choose_format(source: SourceSpec, rows: Iterable[Row]) -> tuple[str, Format]:
    """The name of the format of `rows` and the format itself.

    `format: auto` scores the first 200 rows with every format; the highest mean wins. The file's name plays no part.
    `columns:` in the recipe means the columns format.

    Raises:
        DataError: no format fits, several fit equally well, or the recipe's choice does not exist.
    """
    if source.columns is not None:
        if source.format not in ("auto", "columns"):
            fix = "remove columns, or write format: columns"
            _refuse(f"columns only apply to the columns format, not to {source.format!r}", fix)
        return "columns", _load("columns", source.columns)
    if source.format == "columns":
        fix = f"add columns: {{prompt: ..., completion: ...}} with two of {_keys(list(islice(rows, 1)))}"
        _refuse("format: columns needs to know which columns to read", fix)
    if source.format != "auto":
        return source.format, _named(source.format)
    return _detected(_first(rows))


def _first(rows: Iterable[Row]) -> list[Row]:
    """The first rows; what is wrong further down is reported when all are read."""
    found: list[Row] = []
    try:
        for row in islice(rows, _LOOKED_AT):
            found.append(row)
    except DataError:
        if not found:
            raise
    return found


def _detected(rows: Sequence[Row]) -> tuple[str, Format]:
    formats = {name: _load(name) for name in plugins.names(FOLDER)}
    scores = {name: sum(form.score(row.fields) for row in rows) / len(rows) for name, form in formats.items()}
    best = max(scores.values())
    fitting = [name for name, score in scores.items() if score == best]
    if best == 0.0:
        _refuse_unknown(rows, formats)
    if len(fitting) > 1:
        message = f"the format is ambiguous: {' and '.join(fitting)} fit the keys {_keys(rows)} equally well"
        _refuse(message, f"write format: {fitting[0]} (or {', '.join(fitting[1:])}) for this source")
    return fitting[0], formats[fitting[0]]


def _refuse_unknown(rows: Sequence[Row], formats: dict[str, Format]) -> NoReturn:
    listed = "; ".join(f"{name} ({' + '.join(form.keys)})" for name, form in formats.items() if name != "columns")
    message = f"no format fits the keys {_keys(rows)}; formats: {listed}; columns (any, named in the recipe)"
    _refuse(message, _suggestion(list(rows[0].fields), formats), line=rows[0].line)


def _suggestion(keys: list[str], formats: dict[str, Format]) -> str:
    for name, form in formats.items():
        missing = [key for key in form.keys if key not in keys]
        close = [nearest(key, keys) for key in missing]
        if name not in _LOOSE_NAMES and missing and all(close):
            renamed = ", ".join(f"{found!r} to {key!r}" for found, key in zip(close, missing, strict=True))
            return f"nearest: {name}; rename {renamed}"
    prompt = next((name for name in _PROMPT_NAMES if name in keys), keys[0] if keys else "...")
    answer = next((name for name in _ANSWER_NAMES if name in keys and name != prompt), "...")
    return f"name the columns in the recipe, for example columns: {{prompt: {prompt}, completion: {answer}}}"


def _named(name: str) -> Format:
    try:
        return _load(name)
    except NotFound as error:
        meant = _OTHER_NAMES.get(name)
        fix = f"did you mean {meant!r}? allowed: auto, {', '.join(plugins.names(FOLDER))}" if meant else error.hint
        _refuse(f"there is no format {name!r}", fix or "write format: auto")


def _load(name: str, options: ColumnMapping | None = None) -> Format:
    plugin = plugins.load(FOLDER, name)
    given = {"prompt": options.prompt, "completion": options.completion, "system": options.system} if options else {}
    return cast(Format, plugin.model_validate(given))


def _keys(rows: Sequence[Row]) -> str:
    return ", ".join(map(repr, rows[0].fields)) or "(none)"


def _refuse(message: str, fix: str, *, line: int | None = None, field: str | None = None) -> NoReturn:
    raise DataError([Problem(message, line=line, field=field, fix=fix)])
