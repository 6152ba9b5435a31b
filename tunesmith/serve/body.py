"""The base of request bodies: JSON whose strings are text and whose numbers are numbers."""

from __future__ import annotations

import json
from typing import Any

from pydantic import model_validator

from tunesmith.types.base import Value

__all__ = ["Body"]


class Body(Value):
    """A request body. JSON can escape half of a surrogate pair, which is no character, so nothing could store it; and
    Python reads NaN and 1e999, which nothing could answer.
    """

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body  # refused as such by the model itself
        try:
            json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("its strings must be valid Unicode, and one has a lone surrogate") from error
        except ValueError as error:
            raise ValueError("its numbers must be finite") from error
        return body
