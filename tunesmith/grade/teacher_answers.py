"""Sequence-level distillation: a teacher's answers to prompts, kept where they are good enough to be learned.

Kim and Rush 2016, arXiv:1606.07947: the student is then trained on the answers by plain supervised tuning.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tunesmith.grade.grader import Answered, Grader, Sample
from tunesmith.grade.judge import Judge, JudgeFailed, Judgement

__all__ = ["Asked", "Quality", "Taught", "teacher_answers"]


class Asked(NamedTuple):
    """A prompt and its row's own fields, which the grader can see."""

    messages: tuple[Mapping[str, Any], ...]
    item: Mapping[str, Any]


class Quality(NamedTuple):
    """Answers are kept that `grader` gives at least `at_least`; without a grader all that are complete."""

    grader: Grader | None = None
    at_least: float = 1.0


class Taught(NamedTuple):
    """Rows to train on, in the chat format, and what became of every answer: its counts add up to the answers asked."""

    rows: list[dict[str, Any]]
    ledger: dict[str, int]
    complaint: str
    """the first reason for which an answer could not be had or graded"""


async def teacher_answers(
    asked: Sequence[Asked], judge: Judge, model: str, options: Mapping[str, Any], quality: Quality
) -> Taught:
    """Ask `model` every prompt once and keep the answers that pass.

    Dropped are answers that failed, were refused, empty, cut_off, unscored, or below the grade.
    """
    said = await asyncio.gather(*(_ask(judge, model, each, options) for each in asked))
    reasons = [_reason(each) for each in said]
    whole = [index for index, reason in enumerate(reasons) if reason == "kept"]
    texts = {index: _text(said[index]) for index in whole}
    scores: dict[int, float] = {}
    complaint = next((each for each in said if isinstance(each, str)), "")
    if quality.grader is not None:
        answers = [Answered(Sample(output_text=texts[index]), asked[index].item) for index in whole]
        for index, grade in zip(whole, await quality.grader.grade(answers, judge), strict=True):
            if grade.score is None:
                reasons[index] = "unscored"
                complaint = complaint or f"{grade.error}: {grade.detail}"
            else:
                scores[index] = grade.score
                reasons[index] = "kept" if grade.score >= quality.at_least else "below"
    kept = [index for index in whole if reasons[index] == "kept"]
    rows = [_row(asked[index], texts[index], scores.get(index)) for index in kept]
    return Taught(rows, dict(Counter(reasons)), complaint)


async def _ask(judge: Judge, model: str, asked: Asked, options: Mapping[str, Any]) -> Judgement | str:
    """What the teacher said, or why it could not be asked."""
    try:
        return await judge.ask(model, asked.messages, options)
    except JudgeFailed as error:
        return str(error)


def _reason(said: Judgement | str) -> str:
    if isinstance(said, str):
        return "failed"
    if said.refusal:
        return "refused"
    if said.cut_off:
        return "cut_off"
    return "kept" if said.text.strip() else "empty"


def _text(said: Judgement | str) -> str:
    return "" if isinstance(said, str) else said.text.strip()


def _row(asked: Asked, answer: str, score: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": [*asked.messages, {"role": "assistant", "content": answer}]}
    return row if score is None else {**row, "grade": score}
