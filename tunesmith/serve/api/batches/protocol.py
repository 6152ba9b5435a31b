"""What /v1/batches takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tunesmith.serve.api.files.protocol import ExpiresAfter, storable
from tunesmith.serve.body import Body
from tunesmith.types.base import Value
from tunesmith.types.batches import Batch, BatchEndpoint, BatchProblem, BatchState, Counts

__all__ = ["BatchErrors", "BatchObject", "BatchTokens", "CreateBatch", "TokenDetails", "batch_object"]

Key = Annotated[str, Field(max_length=64), AfterValidator(storable)]
Text = Annotated[str, Field(max_length=512), AfterValidator(storable)]


class CreateBatch(Body):
    """The file of requests, where they go, and how long the files of answers are kept."""

    input_file_id: str
    endpoint: BatchEndpoint
    completion_window: Literal["24h"]
    metadata: Annotated[dict[Key, Text], Field(max_length=16)] | None = None
    output_expires_after: ExpiresAfter | None = None


class BatchErrors(Value):
    """Why a batch failed as a whole."""

    object: Literal["list"] = "list"
    data: tuple[BatchProblem, ...]


class TokenDetails(Value):
    """Parts of a number of tokens; nothing here counts them for a batch."""

    cached_tokens: int = 0
    reasoning_tokens: int = 0


class BatchTokens(Value):
    """Tokens of all answers together."""

    input_tokens: int
    input_tokens_details: TokenDetails = TokenDetails()
    output_tokens: int
    output_tokens_details: TokenDetails = TokenDetails()
    total_tokens: int


class BatchObject(Value):
    """A batch. Times are in Unix seconds, null for what has not happened."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: BatchEndpoint
    model: str | None
    errors: BatchErrors | None
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: BatchState
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: Counts
    usage: BatchTokens
    metadata: dict[str, str] | None


def batch_object(batch: Batch) -> BatchObject:
    """`batch` as clients see it."""
    shown = batch.model_dump(include=BatchObject.model_fields.keys() - {"usage"})
    used = batch.usage
    tokens = BatchTokens(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        total_tokens=used.input_tokens + used.output_tokens,
    )
    errors = BatchErrors(data=batch.problems) if batch.problems else None
    return BatchObject.model_validate({**shown, "usage": tokens, "errors": errors, "request_counts": batch.counts})
