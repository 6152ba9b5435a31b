"""What POST /v1/embeddings takes and answers: OpenAI's fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.serve.body import Body
from tunesmith.types.base import Value

__all__ = ["Embedding", "EmbeddingList", "EmbeddingRequest", "EmbeddingUsage"]

Text = Annotated[str, Field(min_length=1)]
TokenIds = Annotated[list[Annotated[int, Field(ge=0, strict=True)]], Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=2048)]
Prompts = Annotated[list[TokenIds], Field(min_length=1, max_length=2048)]


class EmbeddingRequest(Body):
    """Texts or token ids, one or a list. `dimensions` keeps the first ones and scales what is left to length 1."""

    model: str
    input: Text | Texts | TokenIds | Prompts
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None

    def inputs(self) -> list[str | list[int]]:
        """One entry for each vector of the answer."""
        if isinstance(self.input, str):
            return [self.input]
        texts = [part for part in self.input if isinstance(part, str)]
        prompts = [part for part in self.input if isinstance(part, list)]
        ids = [part for part in self.input if isinstance(part, int)]
        return [*texts, *prompts] or [ids]


class Embedding(Value):
    """A vector as numbers, or as base64 of little-endian 32-bit floats (which the official client asks for)."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: tuple[float, ...] | str


class EmbeddingUsage(Value):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Value):
    """The vectors, in the order of the inputs."""

    object: Literal["list"] = "list"
    data: tuple[Embedding, ...]
    model: str
    usage: EmbeddingUsage
