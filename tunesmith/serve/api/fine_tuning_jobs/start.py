"""What a job starts from: the base, or the adapter of a tuned model that its project may use."""

from __future__ import annotations

from pathlib import Path

from tunesmith.errors import RecipeError
from tunesmith.jobs.models import short_name
from tunesmith.serve.catalogue import BASE_ID, Catalogue
from tunesmith.serve.failures import invalid

__all__ = ["start_of"]


def start_of(model: str, project: str, catalogue: Catalogue) -> Path | None:
    """The folder of the adapter that `model` means to `project`; None for the base.

    Raises ApiError: 404 for a model that the project does not have, 400 for one that training cannot go on from.
    """
    base = catalogue.base
    if model in (BASE_ID, base.name, short_name(base.name)):
        return None
    release = catalogue.find(model, project).release
    if release is None:
        return None
    from tunesmith.train.parent import inherited, read_parent  # imports torch, which most requests do not need
    from tunesmith.types.recipe import TrainSpec

    folder = Path(release.adapter_path)
    try:
        inherited(TrainSpec(), read_parent(folder, f"the model '{model}'"))
    except RecipeError as error:
        said = " ".join(f"{problem.message[0].upper()}{problem.message[1:]}." for problem in error.problems)
        fix = f"Tune the base instead: '{short_name(base.name)}' (or '{BASE_ID}')."
        raise invalid(f"{said} {fix}", "model", "model_not_available") from None
    return folder
