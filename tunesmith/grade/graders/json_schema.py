"""json_schema: 1 when the answer is JSON that fits a schema, else 0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import field_validator

from tunesmith.errors import MissingDependency
from tunesmith.grade.grader import Answered, Grade, Grader, score_each
from tunesmith.grade.judge import Judge
from tunesmith.grade.placeholders import Template, fill

__all__ = ["JsonSchema"]


class JsonSchema(Grader):
    """1 when the whole input is one JSON value that fits `json_schema` (JSON Schema, draft 2020-12 unless `$schema`
    says otherwise), else 0.

    By hand: schema {type: object, required: [status]}: '{"status": 1}' 1, '{}' 0, 'status' 0.
    """

    input: Template = "{{sample.output_text}}"
    json_schema: dict[str, Any]

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
        library = _jsonschema()
        try:
            library.validators.validator_for(schema, library.Draft202012Validator).check_schema(schema)
        except library.SchemaError as error:
            raise ValueError(f"{error.json_path}: {error.message}") from None
        return schema

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """1.0 or 0.0 for each answer."""
        library = _jsonschema()
        kind = library.validators.validator_for(self.json_schema, library.Draft202012Validator)
        validator = kind(self.json_schema)
        return score_each(answers, lambda answered: self._score(answered, validator))

    def _score(self, answered: Answered, validator: Any) -> float:
        try:
            value = json.loads(fill(self.input, answered.sample.namespace(), answered.item))
        except (ValueError, RecursionError):
            return 0.0
        return float(validator.is_valid(value))


def _jsonschema() -> Any:
    try:
        import jsonschema
    except ImportError:
        raise MissingDependency(
            "The grader json_schema needs the package jsonschema.",
            hint="Install it with: pip install 'tunesmith[graders]'",
        ) from None
    return jsonschema
