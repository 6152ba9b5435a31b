"""label_model: a model puts the answer into one of several classes, some of which pass."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import Field, model_validator

from tunesmith.errors import nearest
from tunesmith.grade.judging import ModelGrader

__all__ = ["LabelModel"]


class LabelModel(ModelGrader):
    """1 when the label that `model` chooses is one of `passing_labels`, else 0.

    See score_model for the server. A plain answer must be one label and nothing else; anything else is unscored.
    """

    answer_name: ClassVar[str] = "label"

    labels: tuple[str, ...] = Field(min_length=2)
    passing_labels: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _passing_labels_are_labels(self) -> LabelModel:
        for label in self.passing_labels:
            if label not in self.labels:
                close = nearest(label, self.labels)
                hint = f"did you mean {close!r}? " if close else ""
                raise ValueError(f"passing_labels: {label!r} is no label; {hint}labels: {', '.join(self.labels)}")
        return self

    def result_schema(self) -> dict[str, Any]:
        """One of the labels."""
        return {"type": "string", "enum": list(self.labels)}

    def read(self, text: str) -> float:
        """1.0 for a passing label, 0.0 for another; ValueError for what is no label."""
        try:
            said: Any = json.loads(text)
        except ValueError:
            said = text.strip()
        label = said.get("result") if isinstance(said, dict) else said
        if label not in self.labels:
            raise ValueError(f"the model said {text[:200]!r}, which is none of: {', '.join(self.labels)}")
        return float(label in self.passing_labels)
