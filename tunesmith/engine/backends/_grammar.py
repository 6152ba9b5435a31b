"""Constraints compiled by llguidance: refused where they cannot be enforced whole, one matcher for each request."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection

from llguidance import LLMatcher, LLTokenizer

from tunesmith.engine.engine import Constraint
from tunesmith.errors import RequestRefused

__all__ = ["WHITE_SPACE", "Grammars"]

_KEPT = 16
# Endless white space is valid JSON and a trap for weak models. Enough for a line break and sixteen levels of indent.
WHITE_SPACE = r"[ \n\r\t]{1,64}"


class Grammars:
    """Compiles constraints for one tokenizer, given as the text of its `tokenizer.json`.

    Only `stop_ids` end an answer. The tokenizer is read at the first constraint, since that takes a while for a large
    vocabulary. Compiled grammars are kept for the next requests with the same one. Safe to use from several threads.
    """

    def __init__(self, tokenizer_json: str, vocabulary: int, stop_ids: Collection[int]) -> None:
        self._made_of = (tokenizer_json, vocabulary, sorted(stop_ids))
        self._tokenizer: LLTokenizer | None = None
        self._compiled: OrderedDict[Constraint, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def matcher(self, constraint: Constraint) -> LLMatcher:
        """A matcher at the beginning of an answer.

        Raises RequestRefused when the constraint is malformed, too large, or asks for something that is not enforced.
        """
        with self._lock:
            if constraint not in self._compiled:
                self._compiled[constraint] = self._compile(constraint)
                while len(self._compiled) > _KEPT:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(constraint)
            return self._compiled[constraint].deep_copy()

    def _compile(self, constraint: Constraint) -> LLMatcher:
        if self._tokenizer is None:
            text, vocabulary, stop_ids = self._made_of
            self._tokenizer = LLTokenizer(text, n_vocab=vocabulary, eos_token=stop_ids)
        grammar = _grammar(constraint)
        failed, messages = LLMatcher.validate_grammar_with_warnings(grammar, self._tokenizer)
        if failed or messages:
            raise _refused(constraint, "; ".join(messages))
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise _refused(constraint, matcher.get_error())
        return matcher


def _grammar(constraint: Constraint) -> str:
    if constraint.kind == "regex":
        return LLMatcher.grammar_from_regex(constraint.source)
    if constraint.kind == "lark":
        return LLMatcher.grammar_from_lark(constraint.source)
    source = constraint.source if constraint.kind == "json_schema" else json.dumps({"type": "object"})
    # A schema can carry options of its own, which could loosen it; these here win over them.
    try:
        return LLMatcher.grammar_from_json_schema(
            source, overrides={"whitespace_pattern": WHITE_SPACE, "lenient": False, "coerce_one_of": False}
        )
    except ValueError as error:
        raise _refused(constraint, str(error)) from error


def _refused(constraint: Constraint, reason: str) -> RequestRefused:
    worded = constraint.kind.replace("_", " ")
    return RequestRefused(f"This {worded} cannot be enforced: {reason.strip()[:500]}", field="constraint")
