"""The suites of a recipe, asked of the recipe's contestants on the engine that measures the held-out rows."""

from __future__ import annotations

from tunesmith.evaluate.answer_store import AnswerStore
from tunesmith.evaluate.engine_subject import EngineSubject, Served
from tunesmith.evaluate.prompting import Prompting
from tunesmith.evaluate.running import RunOptions, run_suite
from tunesmith.evaluate.stage import ContestantSpec, EvaluationInput
from tunesmith.progress import Progress
from tunesmith.types.recipe import EvaluateSpec
from tunesmith.types.report import EvaluationReport

__all__ = ["run_suites"]


async def run_suites(
    spec: EvaluateSpec, subject: EvaluationInput, *, served: Served, progress: Progress, answers: AnswerStore
) -> dict[str, EvaluationReport]:
    """The report of each suite by its name.

    Contestants with a system prompt get the dataset's in front of items that have none, as a server would put it; an
    item's own system message is part of its question and goes to everybody. Raises what `run_suite` raises.
    """
    options = RunOptions(concurrency=spec.concurrency, confidence=spec.confidence)
    subjects = [_subject(contestant, subject, served) for contestant in subject.contestants]
    return {suite.name: await run_suite(suite, subjects, options, progress, None, answers) for suite in subject.suites}


def _subject(contestant: ContestantSpec, subject: EvaluationInput, served: Served) -> EngineSubject:
    prompting = Prompting(system=subject.system_prompt if contestant.system_prompt else None)
    return EngineSubject(contestant.name, served._replace(adapter=contestant.adapter_digest), prompting)
