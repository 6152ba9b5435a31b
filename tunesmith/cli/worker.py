"""tunesmith worker: carry out fine-tuning jobs."""

from __future__ import annotations

import re
import signal
import threading
from typing import Annotated

import typer

from tunesmith.cli.options import AsJson, read_settings
from tunesmith.cli.output import show_json

__all__ = ["command"]

_LABEL = re.compile(r"[a-z0-9_]{1,32}")


def command(
    label: Annotated[
        list[str] | None,
        typer.Option(help="What this machine has, such as gpu; jobs that ask for it come here. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry out fine-tuning jobs from the queue, one at a time.

    tunesmith serve starts one by itself. Several, on several machines, share TUNESMITH_HOME and TUNESMITH_DATABASE_URL.
    A worker told to end (Ctrl-C, SIGTERM) saves a checkpoint first; a job goes on where it was, here or elsewhere.
    """
    for name in label or ():
        if not _LABEL.fullmatch(name):
            raise typer.BadParameter(f"{name!r}: at most 32 of a-z, 0-9 and _", param_hint="--label")
    from tunesmith.jobs.processes import bind_to_parent
    from tunesmith.jobs.worker import work

    bind_to_parent()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def ready(name: str) -> None:
        if as_json:
            show_json({"worker": name, "labels": label or []})
        else:
            typer.echo(f"{name} takes jobs (stop with Ctrl-C)")

    work(read_settings(), frozenset(label or ()), stop, ready)
