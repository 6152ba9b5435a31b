"""Finds what was meant to be filled in or left out: `{{name}}`, `[Your Name]`, and special tokens written as text.

A special token inside a text can end a turn where the text goes on; models trained on unfilled placeholders say them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from tunesmith.errors import Problem, RecipeError
from tunesmith.prepare.step import Finding, Outcome
from tunesmith.prepare.texts import passages, rewritten
from tunesmith.types.base import Value
from tunesmith.types.preference import Row

__all__ = ["Placeholders"]

_PLACEHOLDER = re.compile(
    r"\{\{\s*[\w.\- ]{1,60}\s*\}\}"  # mustache and Jinja
    r"|\$\{\w{1,60}\}"
    r"|\[(?:insert|your|enter|add)\b[^\[\]\n]{0,60}\]"
    r"|<(?:insert|your|enter)[ _-][\w \-]{1,60}>"
    r"|\blorem ipsum\b",
    re.IGNORECASE,
)
_SPECIAL = (
    r"<[|｜][^<>|｜\s]{1,60}[|｜]>",  # <|endoftext|>, <|im_start|>, and DeepSeek's wide bars
    r"</?s>",
    r"<(?:pad|bos|eos|unk|mask|start_of_turn|end_of_turn)>",
    r"\[/?INST\]",
    r"<</?SYS>>",
    r"\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]",
)
_MOST_SHOWN = 5


class Placeholders(Value):
    """Rows with unfilled placeholders or literal special tokens: reported, dropped, or (tokens) the token removed.

    `special_tokens` adds the model's own to those that are known; `allow` names placeholders that belong in the data.
    Code with `{{ }}` of a template language is found too: report before you drop.
    """

    placeholders: Literal["report", "drop"] = "report"
    tokens: Literal["report", "drop", "remove"] = "report"
    special_tokens: tuple[str, ...] = ()
    allow: tuple[str, ...] = Field(default=(), examples=[["{{name}}"]])

    def open(self, folder: Path) -> Callable[[Row], Outcome]:
        """The search in one row. Drop reasons: placeholder, special_token."""
        if "" in self.special_tokens:
            raise RecipeError([Problem("holds an empty text", field="placeholders.special_tokens", fix="remove it")])
        special = re.compile("|".join((*map(re.escape, self.special_tokens), *_SPECIAL)))

        def search(row: Row) -> Outcome:
            kinds: Mapping[str, re.Pattern[str]] = {"placeholder": _PLACEHOLDER, "special_token": special}
            findings = tuple(
                Finding(kind, text) for kind, pattern in kinds.items() for text in self._found(row, pattern)
            )
            found = {finding.kind for finding in findings}
            if "placeholder" in found and self.placeholders == "drop":
                return Outcome(None, "placeholder", findings)
            if "special_token" in found and self.tokens == "drop":
                return Outcome(None, "special_token", findings)
            if "special_token" in found and self.tokens == "remove":
                row = rewritten(row, lambda text: special.sub("", text))
            return Outcome(row, findings=findings)

        return search

    def _found(self, row: Row, pattern: re.Pattern[str]) -> Iterator[str]:
        """Distinct hits in the row, at most five."""
        hits = (hit.group() for passage in passages(row) for hit in pattern.finditer(passage.text))
        return iter([hit for hit in dict.fromkeys(hits) if hit not in self.allow][:_MOST_SHOWN])
