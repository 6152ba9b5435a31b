"""A batch: many requests to one endpoint, answered in the background."""

from __future__ import annotations

from typing import Literal

from tunesmith.types.base import Value

__all__ = ["OPEN", "Batch", "BatchEndpoint", "BatchProblem", "BatchResult", "BatchState", "Counts", "TokenUsage"]

BatchEndpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/moderations"]
BatchState = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]

OPEN: tuple[BatchState, ...] = ("validating", "in_progress", "finalizing", "cancelling")
"""The states in which there is something left to do."""


class BatchProblem(Value):
    """Why a batch failed as a whole; `line` counts from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Counts(Value):
    """How many requests there are, were answered and were refused."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class TokenUsage(Value):
    """Tokens of all answers of a batch."""

    input_tokens: int = 0
    output_tokens: int = 0


class BatchResult(Value):
    """What became of the request on one line: the line of the output or error file (JSON), and its tokens."""

    line: int
    failed: bool
    content: str
    input_tokens: int = 0
    output_tokens: int = 0


class Batch(Value):
    """A batch as it is stored. Times are in Unix seconds; `key` and `role` are of the caller who made it."""

    id: str
    project: str
    key: str | None = None
    role: Literal["admin", "member", "read"] = "member"
    endpoint: BatchEndpoint
    input_file_id: str
    status: BatchState = "validating"
    model: str | None = None
    metadata: dict[str, str] | None = None
    output_expires_after: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    problems: tuple[BatchProblem, ...] = ()
    counts: Counts = Counts()
    usage: TokenUsage = TokenUsage()
    created_at: int
    expires_at: int
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
