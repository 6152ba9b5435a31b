"""Brings the teacher of a distillation to the model it teaches."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from tunesmith.errors import Problem, RecipeError
from tunesmith.models.method import Method
from tunesmith.models.teacher import give_teacher, load_teacher
from tunesmith.models.weights import resolve_base
from tunesmith.train.finish import TrainingInput
from tunesmith.train.forward import Batching, attention_for
from tunesmith.train.objective import Needs
from tunesmith.types.recipe import ModelSpec

__all__ = ["Loading", "teach"]


class Loading(NamedTuple):
    """How models are loaded in this run."""

    precision: Literal["float32", "bfloat16"]
    batching: Batching


def teach(model: Any, needs: Needs, method: Method, given: TrainingInput, loading: Loading) -> None:
    """Load the teacher that the objective asks for and let it travel with `model`; nothing without one.

    Raises ModelError for a teacher that does not fit, RecipeError for a method whose rows no teacher can read.
    """
    if needs.teacher is None:
        return
    if method.virtual_ids():
        message = "puts virtual tokens in front of each row, which a teacher cannot read"
        raise RecipeError([Problem(message, field="train.method.name", fix="choose another method, such as lora")])
    base = resolve_base(ModelSpec(base=needs.teacher.base), given.home)
    attention = attention_for(loading.batching)
    give_teacher(model, load_teacher(base.path, needs.teacher.adapter, given.base.path, loading.precision, attention))
