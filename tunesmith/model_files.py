"""What the `model` of a recipe names on disk, beside the recipe: the base's folder, the template's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.documents import Document
from tunesmith.errors import Problem, nearest

__all__ = ["place_base", "read_template"]


def read_template(data: dict[str, Any], folder: Path, document: Document) -> list[Problem]:
    """Put the text of a template's file in place of its path, so that the recipe says everything itself."""
    model = data.get("model")
    given = model.get("template") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(given, str) or not given.endswith(".jinja"):
        return []
    try:
        model["template"] = (folder / given).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        fix = f"paths are relative to {folder}"
        return [document.problem(("model", "template"), f"{given!r} cannot be read: {error}", fix)]
    return []


def place_base(
    data: dict[str, Any], folder: Path, document: Document, say: Callable[[str], None] | None
) -> list[Problem]:
    """Put its whole path in place of a base model that is a folder beside the recipe; a problem where none is found.

    `say` is told when the current folder has another one of that name.
    """
    model = data.get("model")
    written = model.get("base") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(written, str) or not written or written[0] == "~":
        return []
    if written.startswith("wheel:"):
        return []
    beside, here = folder / written, Path(written)
    if beside.is_dir():
        if say and here.is_dir() and not here.samefile(beside):
            say(f"model.base: {written} is the folder beside the recipe, {beside}, not the one of that name here")
        model["base"] = str(beside.resolve())
    elif written.startswith(("./", "../")) and not here.is_dir():
        around = [item.name for item in beside.parent.iterdir()] if beside.parent.is_dir() else []
        near = nearest(here.name, around)
        fix = f"did you mean {str(here.with_name(near))!r}?" if near else f"paths are relative to {folder}"
        return [document.problem(("model", "base"), f"{written!r}: no such folder", fix)]
    return []
