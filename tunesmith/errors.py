"""Every error a user can meet, as one tree.

    TunesmithError
    ├── RecipeError            (ValueError)    the recipe file is not acceptable; carries all problems
    ├── DataError              (ValueError)    a data file is not acceptable; carries all problems
    ├── RenderingError         (ValueError)    a conversation cannot be rendered faithfully
    ├── ModelError             (RuntimeError)  a base model or adapter cannot be loaded or does not fit
    ├── TrainingFailed         (RuntimeError)  a run that could not have learned, or broke while learning
    │   └── PeerLost                           another process of the same run is gone
    ├── EvaluationError        (RuntimeError)  an evaluation could not be carried out
    ├── NotFound               (LookupError)   a named run, release, model or plugin does not exist
    ├── MissingDependency      (ImportError)   an optional package is absent; names the extra to install
    ├── DatabaseError          (RuntimeError)  the database cannot be reached, or its address is none
    └── EngineError            (RuntimeError)  the inference engine refused or lost a request
        ├── RequestTooLong                     prompt and answer do not fit the engine's context
        └── RequestRefused                     the engine does not do what the request asks for; names the field

`Interrupted` (KeyboardInterrupt) is no failure and stands beside the tree: somebody asked the process to stop.

The class docstring is the default message. Each class also inherits the builtin it specialises, and every
instance survives pickling. `hint` says what to do next: a command, a field to change, the nearest match.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "DataError",
    "DatabaseError",
    "EngineError",
    "EvaluationError",
    "Interrupted",
    "MissingDependency",
    "ModelError",
    "NotFound",
    "PeerLost",
    "Problem",
    "RecipeError",
    "RenderingError",
    "RequestRefused",
    "RequestTooLong",
    "TrainingFailed",
    "TunesmithError",
    "nearest",
]


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed word closest to `word`, or None when nothing is close (difflib ratio below 0.6)."""
    matches = difflib.get_close_matches(word, list(allowed), n=1)
    return matches[0] if matches else None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input, placed as exactly as it is known."""

    message: str
    file: str | None = None
    line: int | None = None
    field: str | None = None
    fix: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        where = f"{place}: " if place else ""
        field = f"{self.field}: " if self.field else ""
        fix = f" -> {self.fix}" if self.fix else ""
        return f"{where}{field}{self.message}{fix}"


class TunesmithError(Exception):
    """Something went wrong in Tunesmith."""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.hint = hint
        super().__init__(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


def _rebuild(kind: type[TunesmithError], state: dict[str, object]) -> TunesmithError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (state.get("message"),)
    return error


class _Problems(TunesmithError):
    """The input has problems."""

    def __init__(
        self, problems: Sequence[Problem] = (), *, message: str | None = None, hint: str | None = None
    ) -> None:
        self.problems = tuple(problems)
        summary = message or (type(self).__doc__ or "").strip()
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]), hint=hint)


class RecipeError(_Problems, ValueError):
    """The recipe is not acceptable."""


class DataError(_Problems, ValueError):
    """The data is not acceptable."""


class RenderingError(TunesmithError, ValueError):
    """The conversation cannot be rendered faithfully by this model's chat template."""


class ModelError(TunesmithError, RuntimeError):
    """The model cannot be used."""


class TrainingFailed(TunesmithError, RuntimeError):
    """The training run failed."""


class PeerLost(TrainingFailed):
    """Another process of this training run is gone."""


class EvaluationError(TunesmithError, RuntimeError):
    """The evaluation could not be carried out."""


class NotFound(TunesmithError, LookupError):
    """The named thing does not exist."""


class MissingDependency(TunesmithError, ImportError):
    """An optional package is missing."""


class DatabaseError(TunesmithError, RuntimeError):
    """The database cannot be used."""


class EngineError(TunesmithError, RuntimeError):
    """The inference engine could not serve the request."""


class RequestTooLong(EngineError):
    """The prompt and the answer asked for do not fit the engine's context."""


class RequestRefused(EngineError):
    """The engine does not do what the request asks for."""

    def __init__(self, message: str | None = None, *, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.field = field


class Interrupted(KeyboardInterrupt):
    """The process was asked to stop by a signal; `note` says what was saved."""

    def __init__(self, number: int = signal.SIGINT, note: str = "") -> None:
        self.number = number
        self.note = note
        super().__init__(number, note)

    def __str__(self) -> str:
        return self.message

    @property
    def message(self) -> str:
        """One sentence on what happened."""
        return f"Stopped by {signal.Signals(self.number).name}{f' {self.note}' if self.note else ''}."

    @property
    def exit_code(self) -> int:
        """What a shell calls this end: 128 + the signal's number (130 for SIGINT, 143 for SIGTERM)."""
        return 128 + self.number
