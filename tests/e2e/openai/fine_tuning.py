"""What the tests of fine-tuning share: rows, files, and waiting for a job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob

__all__ = ["COLOURS", "SMALL", "chat_rows", "event_texts", "pairs", "upload", "wait_for"]

COLOURS = ("red", "green", "blue", "grey")
SMALL = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}}


def chat_rows(count: int = 12) -> list[dict[str, Any]]:
    """Questions of which the answer is a colour, each with a system prompt of its own rows."""
    return [
        {
            "messages": [
                {"role": "system", "content": "Which colour?"},
                {"role": "user", "content": f"{'ab' * (number % 3)} {number}"},
                {"role": "assistant", "content": COLOURS[number % 4]},
            ]
        }
        for number in range(count)
    ]


def pairs(count: int = 8) -> list[dict[str, Any]]:
    """Preferences in OpenAI's form."""
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"colour {number}?"}]},
            "preferred_output": [{"role": "assistant", "content": COLOURS[number % 4]}],
            "non_preferred_output": [{"role": "assistant", "content": "no idea"}],
        }
        for number in range(count)
    ]


def upload(client: openai.OpenAI, rows: Iterable[Any], name: str = "rows.jsonl") -> str:
    """The id of a file with `rows`, one JSON value a line."""
    content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    return client.files.create(file=(name, content.encode()), purpose="fine-tune").id


def wait_for(
    client: openai.OpenAI, job: str, holds: Callable[[FineTuningJob], bool] | str, seconds: float = 150.0
) -> FineTuningJob:
    """The job as soon as `holds` (or has that status); a job that ends otherwise is a failure."""
    end = time.monotonic() + seconds
    while True:
        found = client.fine_tuning.jobs.retrieve(job)
        if found.status == holds or (callable(holds) and holds(found)):
            return found
        ended = found.status in ("succeeded", "failed", "cancelled")
        assert not ended, (found.status, found.error)
        assert time.monotonic() < end, (found, event_texts(client, job))
        time.sleep(0.1)


def event_texts(client: openai.OpenAI, job: str) -> list[str]:
    """Everything the job said, oldest first."""
    return [event.message for event in client.fine_tuning.jobs.list_events(job, limit=50)][::-1]
