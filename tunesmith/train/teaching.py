"""Brings the teacher of a distillation to the model it teaches."""

from __future__ import annotations

from typing import Any

from tunesmith.errors import Problem, RecipeError
from tunesmith.models.adapter import adapter_digest
from tunesmith.models.method import Method
from tunesmith.models.teacher import Teacher, give_teacher, load_teacher
from tunesmith.models.weights import resolve_base
from tunesmith.train.finish import TrainingInput
from tunesmith.train.objective import Needs
from tunesmith.train.placement import Placement
from tunesmith.types.recipe import ModelSpec

__all__ = ["teach"]


def teach(model: Any, needs: Needs, method: Method, given: TrainingInput, placement: Placement) -> None:
    """Load the teacher that the objective asks for and let it travel with `model`; nothing without one.

    Raises ModelError for a teacher that does not fit, RecipeError for a method whose rows no teacher can read.
    """
    if needs.teacher is None:
        return
    if method.virtual_ids():
        message = "puts virtual tokens in front of each row, which a teacher cannot read"
        raise RecipeError([Problem(message, field="train.method.name", fix="choose another method, such as lora")])
    base = resolve_base(ModelSpec(base=needs.teacher.base), given.home)
    adapter = needs.teacher.adapter
    key = (base.digest, adapter and adapter_digest(adapter), given.base.digest, placement)

    def load() -> Teacher:
        device, precision, attention = placement
        return load_teacher(base.path, adapter, given.base.path, precision, attention, device)

    give_teacher(model, given.shared.teacher(key, load))
