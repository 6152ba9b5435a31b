"""Running a suite: every subject answers every item, the answers are graded, scored and compared."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pydantic import Field

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.answer_store import AnswerStore, Kept
from tunesmith.evaluate.asking import in_parallel
from tunesmith.evaluate.compare import compare_all
from tunesmith.evaluate.grading import graded
from tunesmith.evaluate.judge_agreement import agreements
from tunesmith.evaluate.judges import require_judges
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.pairwise import win_rates
from tunesmith.evaluate.questioning import Question, ask_item, failed, reads_reference
from tunesmith.evaluate.scoring import class_scores, confusions, score
from tunesmith.evaluate.subject import Subject
from tunesmith.grade.judge import Judge
from tunesmith.progress import Progress, Task
from tunesmith.types.base import Value
from tunesmith.types.report import Contestant, EvaluationReport, Prediction, WinRate
from tunesmith.types.suite import Item, Suite

__all__ = ["RunOptions", "asked_items", "question_of", "run_suite"]


class RunOptions(Value):
    """How a suite is run: requests in flight, the intervals' confidence, and how many items (0: all) are asked."""

    concurrency: int = Field(default=16, ge=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    limit: int = Field(default=0, ge=0)


async def run_suite(
    suite: Suite,
    subjects: Sequence[Subject],
    options: RunOptions,
    progress: Progress,
    judge: Judge | None = None,
    answers: AnswerStore | None = None,
) -> EvaluationReport:
    """Every subject in turn on the same items, then scores and paired comparisons.

    An item whose answer cannot be had is an unscored row that says why. `answers` keeps every answer, grade and
    verdict by content: what was asked before is not asked again.

    Raises:
        EvaluationError: no subjects, two of one name, a subject that answers nothing at all, or a metric that cannot
            work here (no judge, no sandbox).
        NotFound, RecipeError: the suite's metrics are not there or have wrong options, or nobody can be asked to judge.
    """
    names = [subject.name for subject in subjects]
    if not names or len(set(names)) < len(names):
        raise EvaluationError(f"Models need distinct names and there must be one at least; got {names}.")
    for spec in suite.metrics:
        load_metric(spec)
    require_judges(suite, names, server=judge is not None)
    items = asked_items(suite, options.limit)
    run = _Run(suite, items, options, answers)
    contestants = tuple([await run.contestant(subject, progress, judge) for subject in subjects])
    wins: tuple[WinRate, ...] = ()
    if suite.pairwise is not None:
        given = {each.name: each.predictions for each in contestants}
        wins = await win_rates(suite.pairwise, items, given, judge, options.confidence, answers)
    return EvaluationReport(
        wins=wins,
        agreements=await agreements(suite.metrics, items, judge, answers),
        dataset_digest=suite.content_digest(),
        split=suite.name,
        rows=len(items),
        labels=suite.labels,
        contestants=contestants,
        comparisons=compare_all(contestants, suite.labels, options.confidence),
        questions={item.id: question_of(item) for item in items},
        concurrency=options.concurrency,
        max_new_tokens=suite.max_new_tokens,
        confidence=options.confidence,
    )


def asked_items(suite: Suite, limit: int) -> tuple[Item, ...]:
    """All items, or `limit` of them, drawn with the suite's seed and in the suite's order.

    The items of a smaller limit are among those of a larger one, so that answers which are kept serve both.
    """
    if not limit or limit >= len(suite.items):
        return suite.items
    order = list(range(len(suite.items)))
    random.Random(suite.seed).shuffle(order)
    return tuple(suite.items[index] for index in sorted(order[:limit]))


def question_of(item: Item) -> str:
    """What a reader of a report is shown: the last thing that the user says."""
    asked = [message.content or "" for message in item.messages if message.role == "user"]
    return item.followups[-1] if item.followups else asked[-1] if asked else ""


class _Run:
    """What stays the same while the subjects change."""

    def __init__(self, suite: Suite, items: tuple[Item, ...], options: RunOptions, answers: AnswerStore | None) -> None:
        self.suite, self.items, self.options, self.answers = suite, items, options, answers
        self.scored_reference = reads_reference(suite)
        self.read = label_reader(suite.labels)

    async def contestant(self, subject: Subject, progress: Progress, judge: Judge | None) -> Contestant:
        """All that is measured of one subject."""
        with (
            self._kept(subject) as kept,
            progress.task(f"{self.suite.name}: {subject.name}", total=len(self.items), unit="item") as task,
        ):
            predictions = await self._predictions(Question(subject, self.suite, kept, self.scored_reference), task)
        predictions = await graded(self.suite.metrics, self.items, predictions, judge, self.answers)
        return self._scored(subject, predictions)

    def _kept(self, subject: Subject) -> AbstractContextManager[Kept | None]:
        return nullcontext(None) if self.answers is None else self.answers.of(subject.identity)

    async def _predictions(self, question: Question, task: Task) -> tuple[Prediction, ...]:
        failures: list[EvaluationError] = []
        answered = 0

        async def one(item: Item) -> Prediction:
            nonlocal answered
            try:
                prediction = await ask_item(question, item)
            except EvaluationError as error:
                failures.append(error)
                if not answered and len(failures) > self.options.concurrency:
                    raise _nothing_answered(question.subject, failures) from error
                return failed(item, error.message)
            answered += 1
            return prediction.model_copy(update={"label": self.read(prediction.answer)})

        found = await in_parallel(self.items, one, self.options.concurrency, task.advance)
        if failures and not answered:
            raise _nothing_answered(question.subject, failures)
        return tuple(found)

    def _scored(self, subject: Subject, predictions: tuple[Prediction, ...]) -> Contestant:
        suite, identity = self.suite, subject.identity
        answered = [row for row in predictions if not row.error]
        return Contestant(
            name=subject.name,
            model=str(identity.get("model", subject.name)),
            adapter_digest=identity.get("adapter"),
            system_prompt=self._has_system(identity.get("prompting", {})),
            scores={
                spec.title: score(spec, predictions, suite.labels, self.options.confidence) for spec in suite.metrics
            },
            classes=class_scores(answered, suite.labels),
            confusions=confusions(answered, suite.labels),
            tokens_per_answer=statistics.fmean(row.tokens for row in answered),
            latency_median_seconds=statistics.median(row.seconds for row in answered),
            predictions=predictions,
        )

    def _has_system(self, prompting: dict[str, Any]) -> bool:
        """Whether the subject saw a system message: one of its own, or the items'."""
        items_own = any(message.role in ("system", "developer") for item in self.items for message in item.messages)
        return prompting.get("system") is not None or (items_own and prompting.get("own_system", True))


def _nothing_answered(subject: Subject, failures: Sequence[EvaluationError]) -> EvaluationError:
    first = failures[0]
    return EvaluationError(
        f"{subject.name} answered none of the first {len(failures)} items: {first.message}", hint=first.hint
    )
