"""Rubrics that judging models are given by name, and how a question and its answer are shown to them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tunesmith.errors import nearest
from tunesmith.evaluate.metric import Answered

__all__ = ["RUBRICS", "rubric_text", "shown"]

RUBRICS: Mapping[str, str] = MappingProxyType(
    {
        "helpfulness": "How helpful the answer is: does it do what was asked, correctly, completely and briefly?",
        "correctness": "How correct the answer is: what it states is true and agrees with the reference if there is "
        "one. Style and length do not count.",
        "readability": "How easy the answer is to read: plain words, clear sentences, a sensible order and layout. "
        "Whether it is correct does not count.",
        "tone": "How fitting the tone of the answer is for a customer: polite, calm, respectful, neither stiff nor "
        "chummy. Whether it is correct does not count.",
        "relevance": "How much of the answer is about what was asked, with nothing beside the point.",
    }
)


def rubric_text(rubric: str) -> str:
    """The rubric of that name, or `rubric` itself when it is a text of several words.

    Raises ValueError with the nearest name for one word that is none.
    """
    if rubric in RUBRICS or " " in rubric.strip():
        return RUBRICS.get(rubric, rubric)
    close = nearest(rubric, RUBRICS)
    hint = f"did you mean {close!r}? " if close else ""
    raise ValueError(f"there is no rubric {rubric!r}; {hint}write one of {', '.join(RUBRICS)}, or a whole sentence")


def shown(answered: Answered) -> dict[str, str]:
    """What a judge sees of an item: the conversation before the answer, and the reference."""
    messages = [f"{each.role}: {each.content}" for each in answered.item.messages if each.content]
    messages += [f"user: {followup}" for followup in answered.item.followups]
    return {"conversation": "\n\n".join(messages), "reference": answered.item.reference}
