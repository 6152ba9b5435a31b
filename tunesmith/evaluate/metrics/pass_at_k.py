"""pass_at_k: one of k programs that the model writes passes the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from tunesmith.errors import EvaluationError
from tunesmith.evaluate.code_runs import Trial, code_of, pass_at_k, passes
from tunesmith.evaluate.metric import Answered, Floats, graded_terms, ratio
from tunesmith.grade.judge import Judge
from tunesmith.grade.sandbox import Limits
from tunesmith.types.base import Value
from tunesmith.types.report import Better, Prediction, Scale

__all__ = ["PassAtK"]


class PassAtK(Value):
    """Mean over items of 1 - C(n - c, k) / C(n, k), where c of an item's n programs pass `expect.tests`: the unbiased
    estimate of Chen et al. 2021 (arXiv:2107.03374).

    Each program runs in a process of its own without network, other processes and files, with at most
    `timeout_seconds` and `memory_megabytes`. Items without tests, and those whose sandbox broke, are unscored. pass@1
    of 2 programs of which 1 passes: 1/2; pass@2: 1.
    """

    better: ClassVar[Better] = "higher"
    scale: ClassVar[Scale] = "share"
    meaning: ClassVar[str] = "chance that one of k programs which the model writes passes all tests"

    k: int = Field(default=1, ge=1)
    timeout_seconds: float = Field(default=5.0, gt=0.0, le=120.0)
    memory_megabytes: int = Field(default=1024, ge=64)
    unconfined: bool = False

    async def grade(self, answered: Sequence[Answered], judge: Judge | None) -> list[float | None]:
        """pass@k of each item. Raises EvaluationError without a sandbox, or when an item has fewer than k answers."""
        trials = [self._trials(each) for each in answered]
        limits = Limits(self.timeout_seconds, self.memory_megabytes << 20)
        verdicts = iter(await passes([trial for each in trials for trial in each], limits, self.unconfined))
        grades: list[float | None] = []
        for each in trials:
            results = [next(verdicts) for _ in each]
            known = [result for result in results if result is not None]
            scored = bool(each) and len(known) == len(results)
            grades.append(pass_at_k(len(known), sum(known), self.k) if scored else None)
        return grades

    def terms(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> Floats:
        """[N, 2]: (pass@k, 1)."""
        return graded_terms(self, predictions)

    def value(self, totals: Floats) -> Floats:
        """Mean pass@k."""
        return ratio(totals[..., 0], totals[..., 1])

    def _trials(self, answered: Answered) -> list[Trial]:
        tests, setup = answered.item.expect.get("tests"), answered.item.expect.get("setup")
        answers = answered.prediction.samples or (answered.prediction.answer,)
        if not isinstance(tests, list) or not tests or answered.prediction.error:
            return []
        if len(answers) < self.k:
            raise EvaluationError(
                f"pass@{self.k} needs {self.k} answers to each item, {answered.item.id} has {len(answers)}.",
                hint=f"Set `samples: {self.k}` or more, and a temperature above 0, in the suite.",
            )
        return [Trial(code_of(answer), str(setup or ""), tuple(map(str, tests))) for answer in answers]
