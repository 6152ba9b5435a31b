"""score_model: a model reads the answer and gives a number."""

from __future__ import annotations

import json
import math
from typing import Any, ClassVar

from pydantic import field_validator

from tunesmith.grade.judging import ModelGrader

__all__ = ["ScoreModel"]


class ScoreModel(ModelGrader):
    """The number between `range[0]` and `range[1]` that `model` answers with.

    Any OpenAI-compatible server can judge: `base_url` (the key is read from the environment variable `api_key_env`).
    The server is asked for the JSON object {"result": number} unless `structured` is false. What is neither that nor
    a plain number, or lies outside the range, is unscored, never a middle score.
    """

    answer_name: ClassVar[str] = "grade"

    range: tuple[float, float] = (0.0, 1.0)

    @field_validator("range")
    @classmethod
    def _is_a_range(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
            raise ValueError(f"the first number must be below the second, found {list(ends)}")
        return ends

    def result_schema(self) -> dict[str, Any]:
        """A number inside the range, which a server that enforces schemas cannot leave."""
        low, high = self.range
        return {"type": "number", "minimum": low, "maximum": high}

    def read(self, text: str) -> float:
        """The number in what the model said; ValueError when there is none inside the range."""
        try:
            said: Any = json.loads(text)
        except ValueError:
            raise ValueError(f"the model said {text[:200]!r}, which is neither a number nor JSON") from None
        value = said.get("result") if isinstance(said, dict) else said
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"the model said {text[:200]!r}, which holds no number `result`")
        low, high = self.range
        if not low <= value <= high:
            raise ValueError(f"the model said {value}, outside of {low:g} to {high:g}")
        return float(value)
