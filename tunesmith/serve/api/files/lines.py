"""The lines of an uploaded file: JSON objects, one a line, checked before the file is kept.

A byte order mark, CRLF and blank lines are read as meant. A training file holds one of OpenAI's forms (supervised,
preference, reinforcement, prompt and completion) throughout, as its first line shows; a batch file holds requests.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from tunesmith.errors import DataError, Problem, nearest
from tunesmith.prepare.format import kind_of
from tunesmith.prepare.formats.chat import Chat
from tunesmith.prepare.formats.completion import Completion
from tunesmith.prepare.formats.preference import Preference
from tunesmith.prepare.formats.prompts import Prompts
from tunesmith.serve.failures import ApiError, invalid
from tunesmith.serve.forms import too_large
from tunesmith.types.batches import BatchEndpoint
from tunesmith.types.files import Purpose

__all__ = ["LIMITS", "Limits", "check_lines", "json_lines"]

_SHOWN = 5
_REQUEST = ("custom_id", "method", "url", "body")

Check = Callable[[Mapping[str, Any]], list[Problem]]


class Limits(NamedTuple):
    """The largest sizes (in bytes) of any file, of a batch file and of a line, and the most lines of a batch file."""

    file: int = 512 << 20
    batch: int = 200 << 20
    line: int = 16 << 20
    batch_lines: int = 50_000


LIMITS = Limits()
"""OpenAI's, and one of our own for a line."""


def check_lines(path: Path, purpose: Purpose, limits: Limits = LIMITS) -> None:
    """Check the file at `path` as `purpose` wants it.

    Raises ApiError 400 that names the first lines and fields that are wrong, 413 for a batch file that is too large.
    """
    size = path.stat().st_size
    if size == 0:
        raise invalid("The file is empty.", "file", "empty_file")
    if purpose not in ("fine-tune", "batch"):
        return
    if purpose == "batch" and size > limits.batch:
        raise too_large("A batch file", limits.batch)
    check: Check = _Training() if purpose == "fine-tune" else _Requests(limits.batch_lines)
    problems: list[str] = []
    lines = 0
    for number, found in json_lines(path, limits.line):
        lines += 1
        wrong = [found] if isinstance(found, Problem) else check(found)
        problems += [f"Line {number}: {problem}" for problem in wrong]
        if len(problems) >= _SHOWN:
            break
    if problems:
        more = " (and perhaps more)" if len(problems) >= _SHOWN else ""
        raise invalid(f"Invalid file format. {'; '.join(problems[:_SHOWN])}{more}", "file", "invalid_file_format")
    if not lines:
        raise invalid("The file holds no line.", "file", "empty_file")


def json_lines(path: Path, longest: int = LIMITS.line) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """(number, object) of every line of `path` that is not blank, or what is wrong with the line."""
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(longest + 1):
            number += 1
            if len(line) > longest:
                yield number, Problem(f"is longer than {longest >> 20} MB")
                return
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | Problem:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return Problem(f"is not UTF-8 (byte {error.start})", fix="save the file as UTF-8")
    try:
        found = json.loads(text, parse_constant=_no_json)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # 1e999 is read as infinity
    except UnicodeEncodeError:
        return Problem("holds half of a character pair (a lone surrogate)", fix="write the whole character")
    except json.JSONDecodeError as error:
        return Problem(f"is not JSON: {error.msg} (column {error.colno})", fix="write one JSON object a line")
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return Problem(f"is not JSON that can be read: {reason}", fix="write one plain JSON object a line")
    if not isinstance(found, dict):
        return Problem(f"must be a JSON object, is {kind_of(found)}", fix="write one JSON object a line")
    return found


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


class _Training:
    """Rows of one form, which the first one shows."""

    def __init__(self) -> None:
        self._form: Chat | Completion | Preference | Prompts | None = None

    def __call__(self, row: Mapping[str, Any]) -> list[Problem]:
        form = self._form or _form_of(row)
        if form is None:
            fix = "write messages; or input, preferred_output and non_preferred_output; or prompt and completion"
            return [Problem(f"is no training example: it has {', '.join(map(repr, row)) or 'no key'}", fix=fix)]
        self._form = form
        try:
            form.parse(row)
        except DataError as error:
            return list(error.problems)
        return []


def _form_of(row: Mapping[str, Any]) -> Chat | Completion | Preference | Prompts | None:
    if "preferred_output" in row or "non_preferred_output" in row or ("chosen" in row and "rejected" in row):
        return Preference()
    if "messages" in row:
        return Prompts() if Prompts().score(row) else Chat()
    if "completion" in row:
        return Completion()
    return Prompts() if "prompt" in row else None


class _Requests:
    """Requests of a batch: their four keys, each custom_id once, at most so many lines."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: set[str] = set()

    def __call__(self, row: Mapping[str, Any]) -> list[Problem]:
        problems = [_unknown(key) for key in row if key not in _REQUEST]
        problems += [Problem("is missing", field=key) for key in _REQUEST if key not in row]
        if problems:
            return problems
        if not isinstance(row["custom_id"], str) or not row["custom_id"]:
            problems.append(Problem(f"must be a text, is {kind_of(row['custom_id'])}", field="custom_id"))
        elif row["custom_id"] in self._seen:
            problems.append(Problem(f"{row['custom_id']!r} is the one of an earlier request", field="custom_id"))
        else:
            self._seen.add(row["custom_id"])
        if row["method"] != "POST":
            problems.append(Problem("must be 'POST'", field="method"))
        if row["url"] not in get_args(BatchEndpoint):
            allowed = ", ".join(get_args(BatchEndpoint))
            problems.append(Problem(f"must be one of {allowed}", field="url"))
        if not isinstance(row["body"], dict):
            problems.append(Problem(f"must be an object, is {kind_of(row['body'])}", field="body"))
        if len(self._seen) > self._most:
            raise _too_many(self._most)
        return problems


def _unknown(key: str) -> Problem:
    close = nearest(key, _REQUEST)
    return Problem("is not a known key", field=key, fix=f"did you mean {close!r}?" if close else "remove it")


def _too_many(most: int) -> ApiError:
    return invalid(f"A batch file may hold {most:,} requests; this one holds more.", "file", "too_many_requests")
