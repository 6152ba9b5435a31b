"""A plugin with the options that a suite gives it."""

from __future__ import annotations

from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.documents import choices
from tunesmith.errors import Problem, RecipeError
from tunesmith.types.base import Value
from tunesmith.types.fields import PluginSpec

__all__ = ["configured"]


def configured(folder: str, spec: PluginSpec, noun: str) -> Value:
    """The plugin of `folder` that `spec` names, with its options; `noun` is what people call it.

    Raises NotFound with the nearest match, RecipeError with every option that is not acceptable.
    """
    kind = plugins.load(folder, spec.name)
    try:
        return kind.model_validate(spec.options)
    except ValidationError as error:
        problems = [
            Problem(
                str(detail["msg"]),
                field=".".join(map(str, detail["loc"])),
                fix=choices(str(detail["loc"][-1]) if detail["loc"] else "", kind.model_fields),
            )
            for detail in error.errors()
        ]
        raise RecipeError(problems, message=f"The {noun} {spec.name} cannot be used with these options:") from None
