"""What a person sees when something fails: what happened, and what to do next. Never a traceback unless asked for."""

from __future__ import annotations

import json

import typer

from tunesmith.errors import DataError, Interrupted, RecipeError, TunesmithError

__all__ = ["BAD_INPUT", "explain"]

BAD_INPUT = 2
"""The exit code for data that is not acceptable, as for arguments that are not."""


def explain(error: BaseException, *, as_json: bool) -> int:
    """Show `error` on stderr, and as {"error": ...} on stdout when `as_json`; gives the exit code."""
    if isinstance(error, KeyboardInterrupt):
        stopped = error if isinstance(error, Interrupted) else Interrupted()
        kind, message, code = "Interrupted", stopped.message, stopped.exit_code
        hint: str | None = "The same command again reuses finished stages and resumes training at its last checkpoint."
    elif isinstance(error, TunesmithError):
        kind, message, hint = type(error).__name__, error.message, error.hint
        code = BAD_INPUT if isinstance(error, DataError) else 1
    else:
        kind, message, code = type(error).__name__, f"{type(error).__name__}: {error}", 1
        hint = "This is not a failure Tunesmith knows. Run the same command with --debug to see where it happened."
    typer.secho(message, fg="red", err=True)
    if hint:
        typer.secho(hint, fg="yellow", err=True)
    if as_json:
        problems = error.problems if isinstance(error, RecipeError | DataError) else ()
        shown = {"type": kind, "message": message, "hint": hint, "problems": [vars(problem) for problem in problems]}
        typer.echo(json.dumps({"error": shown}, ensure_ascii=False))
    return code
