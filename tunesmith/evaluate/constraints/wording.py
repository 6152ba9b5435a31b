"""Constraints on what a text says and how it is laid out."""

from __future__ import annotations

import json as json_library
import re
from functools import cache
from typing import Any

from tunesmith.errors import MissingDependency

__all__ = [
    "contains_one_of",
    "ends_with",
    "forbidden_words",
    "json",
    "keywords",
    "language",
    "lowercase",
    "no_commas",
    "postscript",
    "quotation",
    "repeats_prompt",
    "starts_with",
    "title",
    "two_responses",
    "uppercase",
]

_FEWEST_LETTERS = 20
_FENCES = ("```json", "```Json", "```JSON", "```")


def keywords(text: str, *, words: tuple[str, ...]) -> bool:
    """Each of `words` occurs, in any case."""
    return all(re.search(re.escape(word), text, re.IGNORECASE) for word in _some(words, "words"))


def forbidden_words(text: str, *, words: tuple[str, ...]) -> bool:
    """None of `words` occurs as a word of its own, in any case."""
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in _some(words, "words"))


def contains_one_of(text: str, *, options: tuple[str, ...]) -> bool:
    """One of `options` occurs, character for character."""
    return any(option in text for option in _some(options, "options"))


def starts_with(text: str, *, text_at_start: str) -> bool:
    """The answer begins with this text, in any case."""
    return text.strip().lower().startswith(text_at_start.strip().lower())


def ends_with(text: str, *, text_at_end: str) -> bool:
    """The answer ends with this text, in any case; double quotes around the answer do not count."""
    return text.strip().strip('"').lower().endswith(text_at_end.strip().lower())


def repeats_prompt(text: str, *, prompt: str) -> bool:
    """The answer first repeats `prompt`, in any case."""
    return text.strip().lower().startswith(prompt.strip().lower())


def quotation(text: str) -> bool:
    """The whole answer is inside double quotes."""
    stripped = text.strip()
    return len(stripped) > 1 and stripped.startswith('"') and stripped.endswith('"')


def no_commas(text: str) -> bool:
    """There is no comma."""
    return "," not in text


def uppercase(text: str, *, language: str = "") -> bool:
    """All letters are capitals, and the text is in `language` when that is given."""
    return text.isupper() and (not language or _is_in(text, language))


def lowercase(text: str, *, language: str = "") -> bool:
    """No letter is a capital (and there is a letter), and the text is in `language` when that is given."""
    return text.islower() and (not language or _is_in(text, language))


def language(text: str, *, code: str) -> bool:
    """The text is in the language `code` (ISO 639-1), by py3langid; fewer than 20 letters cannot be told and pass."""
    return _is_in(text, code)


def title(text: str) -> bool:
    """There is a title in double angular brackets: <<poem of joy>>."""
    return any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", text))


def postscript(text: str, *, mark: str = "P.S.") -> bool:
    """There is a postscript that begins with `mark`, in any case."""
    spaced = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return re.search(spaced.get(mark) or re.escape(mark.lower()), text.lower()) is not None


def json(text: str) -> bool:
    """The whole answer is JSON; a Markdown fence around it is allowed."""
    inner = text.strip()
    for fence in _FENCES:
        inner = inner.removeprefix(fence)
    try:
        json_library.loads(inner.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def two_responses(text: str) -> bool:
    """Two different answers with ****** between them."""
    parts = text.split("******")
    given = [part.strip() for part in parts if part.strip()]
    between = all(part.strip() for part in parts[1:-1])
    return between and len(given) == 2 and given[0] != given[1]


def _some(given: tuple[str, ...], name: str) -> tuple[str, ...]:
    if not given or not all(given):
        raise ValueError(f"{name} needs at least one, none of them empty")
    return given


def _is_in(text: str, code: str) -> bool:
    identifier = _identifier()
    known = set(map(str, identifier.nb_classes))
    if code not in known:
        raise ValueError(f"{code!r} is no language that py3langid knows: {', '.join(sorted(known))}")
    if sum(map(str.isalpha, text)) < _FEWEST_LETTERS:
        return True
    return str(identifier.classify(text.lower())[0]) == code


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise MissingDependency(
            "Constraints on the language need py3langid.", hint="Install it: pip install 'tunesmith[data]'"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE)
