"""Any OpenAI-compatible endpoint as an engine, as long as it takes token ids and says which tokens it chose."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from tunesmith.engine.backend import Backend
from tunesmith.engine.engine import Engine

__all__ = ["OpenAI"]


class OpenAI(Backend):
    """Options of the openai backend.

    url: the endpoint's address, ending in /v1. model: the name under which it serves the base (None: the first that it
    lists). An adapter is served when the endpoint lists it under its digest; nothing is loaded there.
    precision: what it computes in, which sets the bound within which it must agree with training.
    context: most tokens of prompt and answer (None: what the endpoint lists as max_model_len).
    timeout_seconds: longest silence in an answer.
    """

    url: str = "http://127.0.0.1:8001/v1"
    model: str | None = None
    api_key: str | None = None
    precision: Literal["float32", "float16", "bfloat16"] = "bfloat16"
    context: int | None = Field(default=None, ge=16)
    timeout_seconds: float = Field(default=120.0, gt=0.0)

    @field_validator("url")
    @classmethod
    def _whole(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no address; write http://host:port/v1")
        return url.rstrip("/")

    def start(self, base_path: Path) -> Engine:
        """Ask the endpoint for one token to learn how it speaks.

        Raises EngineError when it is not there or cannot do what every engine must, with what it lacks; ModelError when
        it does not serve the model.
        """
        from tunesmith.engine.backends._endpoint import Given, attach

        headers = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        given = Given(self.url, self.model, self.context, self.precision, headers, self.timeout_seconds)
        return attach(base_path, given)
