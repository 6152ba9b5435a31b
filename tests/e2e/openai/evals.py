"""What the tests of evals share: a run at its end, and its counts."""

from __future__ import annotations

import time
from typing import Any

import openai
from openai.types.evals import RunRetrieveResponse

ENDS = ("completed", "failed", "canceled")


def ended(client: openai.OpenAI, eval_id: str, run_id: str, seconds: float = 150) -> RunRetrieveResponse:
    deadline = time.monotonic() + seconds
    while (run := client.evals.runs.retrieve(run_id, eval_id=eval_id)).status not in ENDS:
        assert time.monotonic() < deadline, run
        time.sleep(0.1)
    return run


def counts(run: Any) -> tuple[int, int, int, int]:
    """(total, passed, failed, errored)"""
    found = run.result_counts
    return found.total, found.passed, found.failed, found.errored
