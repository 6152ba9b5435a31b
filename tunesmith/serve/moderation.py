"""The contract of a moderator: texts in, a score for each category out. Plugins lie in `tunesmith.serve.moderators`.

OpenAI's names of moderation models mean the built-in rules; any other `model` is the name of a plugin.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence

from tunesmith import plugins
from tunesmith.errors import NotFound, TunesmithError, nearest
from tunesmith.serve.failures import ApiError
from tunesmith.types.base import Value

__all__ = ["CATEGORIES", "FOLDER", "Moderator", "moderator_of"]

FOLDER = "tunesmith.serve.moderators"
DEFAULT = "rules"

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)

_OF_OPENAI = re.compile(r"(?:omni|text)-moderation-(?:latest|stable|\d{3}|\d{4}-\d{2}-\d{2})")


class Moderator(Value):
    """A frozen set of options that can judge texts. A category is flagged from `threshold` on."""

    threshold: float = 0.5

    @abstractmethod
    async def scores(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """For each text the scores (0 to 1) by category; a category that is missing is one this moderator lacks."""


def moderator_of(model: str | None) -> tuple[str, Moderator]:
    """The plugin that `model` names, by its own name, and its moderator with the usual options.

    Raises ApiError 404 `model_not_found` for an unknown name.
    """
    name = DEFAULT if model is None or _OF_OPENAI.fullmatch(model) else model
    try:
        found = plugins.load(FOLDER, name)
    except NotFound:
        known = plugins.names(FOLDER)
        close = nearest(name, known)
        hint = f" Did you mean '{close}'?" if close else ""
        reason = f"There is no moderation model '{name}'.{hint} There are: {', '.join(known)}."
        raise ApiError(404, reason, param="model", code="model_not_found") from None
    if not issubclass(found, Moderator):
        raise TunesmithError(f"{found.__module__} must export a class derived from {Moderator.__module__}.Moderator.")
    return name, found()
