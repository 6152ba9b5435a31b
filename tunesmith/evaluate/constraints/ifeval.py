"""IFEval's instructions as constraints of ours.

The ids and their arguments are those of Zhou et al. 2023 (arXiv:2311.07911) and its data files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import JsonValue

__all__ = ["INSTRUCTIONS", "constraint_of"]

Arguments = Mapping[str, Any]
Made = dict[str, JsonValue]

_RESPONSES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _bounded(count: Any, relation: Any) -> Made:
    """IFEval has two relations: "less than" and "at least"."""
    if relation == "less than":
        return {"at_most": int(count) - 1}
    if relation == "at least":
        return {"at_least": int(count)}
    raise ValueError(f"the relation {relation!r} is neither 'less than' nor 'at least'")


def _one(name: str, **arguments: str) -> Callable[[Arguments], Made]:
    """A constraint whose options are IFEval's arguments under other names."""
    return lambda given: {"name": name, **{ours: given[theirs] for ours, theirs in arguments.items()}}


def _many(name: str, count: str, relation: str, **arguments: str) -> Callable[[Arguments], Made]:
    return lambda given: _one(name, **arguments)(given) | _bounded(given[count], given[relation])


INSTRUCTIONS: Mapping[str, Callable[[Arguments], Made]] = MappingProxyType(
    {
        "keywords:existence": _one("keywords", words="keywords"),
        "keywords:frequency": _many("keyword_count", "frequency", "relation", word="keyword"),
        "keywords:forbidden_words": _one("forbidden_words", words="forbidden_words"),
        "keywords:letter_frequency": _many("letter_count", "let_frequency", "let_relation", letter="letter"),
        "language:response_language": _one("language", code="language"),
        "length_constraints:number_sentences": _many("sentences", "num_sentences", "relation"),
        "length_constraints:number_paragraphs": lambda given: {
            **_one("paragraphs", exactly="num_paragraphs")(given),
            "mark": "***",
        },
        "length_constraints:number_words": _many("words", "num_words", "relation"),
        "length_constraints:nth_paragraph_first_word": _one(
            "paragraph_start", paragraphs="num_paragraphs", number="nth_paragraph", word="first_word"
        ),
        "detectable_content:number_placeholders": _one("placeholders", at_least="num_placeholders"),
        "detectable_content:postscript": _one("postscript", mark="postscript_marker"),
        "detectable_format:number_bullet_lists": _one("bullets", exactly="num_bullets"),
        "detectable_format:constrained_response": lambda given: {
            "name": "contains_one_of",
            "options": list(_RESPONSES),
        },
        "detectable_format:number_highlighted_sections": _one("highlights", at_least="num_highlights"),
        "detectable_format:multiple_sections": _one("sections", at_least="num_sections", mark="section_spliter"),
        "detectable_format:json_format": _one("json"),
        "detectable_format:title": _one("title"),
        "combination:two_responses": _one("two_responses"),
        "combination:repeat_prompt": _one("repeats_prompt", prompt="prompt_to_repeat"),
        "startend:end_checker": _one("ends_with", text_at_end="end_phrase"),
        "startend:quotation": _one("quotation"),
        "change_case:capital_word_frequency": _many("capital_words", "capital_frequency", "capital_relation"),
        "change_case:english_capital": lambda given: {"name": "uppercase", "language": "en"},
        "change_case:english_lowercase": lambda given: {"name": "lowercase", "language": "en"},
        "punctuation:no_comma": _one("no_commas"),
    }
)
"""From an instruction's id to the constraint that its arguments make."""


def constraint_of(instruction: str, arguments: Arguments) -> Made:
    """The constraint of one instruction; arguments that are null are not given.

    Raises ValueError for an unknown id or a missing argument.
    """
    make = INSTRUCTIONS.get(instruction)
    if make is None:
        raise ValueError(f"{instruction!r} is no instruction of IFEval; known: {', '.join(INSTRUCTIONS)}")
    try:
        return make({key: value for key, value in arguments.items() if value is not None})
    except KeyError as error:
        raise ValueError(f"{instruction}: the argument {error.args[0]} is missing") from None
