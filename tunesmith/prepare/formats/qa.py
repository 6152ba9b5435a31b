"""Questions of a domain: `{"domain": ..., "context": ..., "question": ..., "answer": ...}`.

Domain and context may be left out. The user message is the context, an empty line and the question. SQuAD's `answers`
are read too: a list of `{"text": ..., "answer_start": ...}`, or such lists side by side; the first is the answer, each
must stand in the context where it says, and all are kept as metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.errors import Problem
from tunesmith.prepare.format import exchange, kind_of, metadata, optional_text, raise_problems, required_text
from tunesmith.types.base import Value
from tunesmith.types.conversation import Conversation

__all__ = ["Qa"]

_CHOICES = ("choices", "choice0", "choice_0", "options", "A")


class Qa(Value):
    """A question, perhaps about a context, and its answer."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys every row has (`answers` may stand in place of `answer`)."""
        return ("question", "answer")

    def score(self, row: Mapping[str, Any]) -> float:
        """1 for texts under both keys (or SQuAD's answers), 0.5 when only the keys are there; 0 for choices."""
        if "question" not in row or not ("answer" in row or "answers" in row) or any(key in row for key in _CHOICES):
            return 0.0
        fits = isinstance(row["answer"], str) if "answer" in row else isinstance(row["answers"], list | dict)
        return 1.0 if fits and isinstance(row["question"], str) else 0.5

    def parse(self, row: Mapping[str, Any]) -> Conversation:
        """The exchange of one row. Raises DataError: every problem with its field, such as `answers[0].text`."""
        problems: list[Problem] = []
        question = required_text(row, "question", problems)
        context = optional_text(row, "context", problems)
        system = optional_text(row, "system", problems)
        answer = required_text(row, "answer", problems) if "answer" in row else _first_answer(row, context, problems)
        raise_problems(problems)
        prompt = f"{context}\n\n{question}" if context.strip() else question
        return exchange(prompt, answer, system, metadata(row, ("question", "answer", "context", "system")))


def _first_answer(row: Mapping[str, Any], context: str, problems: list[Problem]) -> str:
    answers = _answers(row.get("answers"))
    if not answers:
        is_what = "missing" if "answers" not in row else f"{kind_of(row['answers'])} without an answer"
        fix = "write the answer to expect (for a question the context does not answer, that it does not)"
        problems.append(Problem(f"is {is_what}", field="answers" if "answers" in row else "answer", fix=fix))
        return ""
    for index, answer in enumerate(answers):
        text, start = answer.get("text"), answer.get("answer_start")
        if not isinstance(text, str) or not text.strip():
            problems.append(
                Problem(f"must be a text, is {kind_of(text)}", field=f"answers[{index}].text", fix="write a text")
            )
        elif isinstance(start, int) and context and context[start : start + len(text)] != text:
            found = context[start : start + len(text)]
            fix = f"it stands at {context.index(text)}" if text in context else "it stands nowhere in the context"
            message = f"the context has {found[:40]!r} at {start}, not {text[:40]!r}"
            problems.append(Problem(message, field=f"answers[{index}].answer_start", fix=fix))
    return str(answers[0].get("text"))


def _answers(found: object) -> list[dict[str, Any]]:
    """SQuAD's answers as objects; the datasets library stores them as lists side by side."""
    if isinstance(found, dict) and isinstance(found.get("text"), list):
        texts, starts = found["text"], found.get("answer_start")
        starts = starts if isinstance(starts, list) and len(starts) == len(texts) else [None] * len(texts)
        return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    given = found if isinstance(found, list) else []
    return [each if isinstance(each, dict) else {"text": each} for each in given]
