"""Running a model's programs against their tests, in the sandbox of `tunesmith.grade`."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from tunesmith.errors import EvaluationError
from tunesmith.grade import sandbox
from tunesmith.grade.sandbox import Limits, SandboxBroken

__all__ = ["Trial", "code_of", "pass_at_k", "passes"]

_BLOCK = re.compile(r"```(?:python3?|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_TOGETHER = 16
_PROGRAM = """
def grade(sample, item):
    space = {"__name__": "answer"}
    for part in (item["setup"], sample, *item["tests"]):
        exec(compile(part, "grader.py", "exec"), space)
    return 1.0
"""


class Trial(NamedTuple):
    """A program and what it must pass."""

    code: str
    setup: str
    tests: tuple[str, ...]


def code_of(answer: str) -> str:
    """The Python in an answer: its code blocks one after another, or the whole answer when it has none."""
    blocks = _BLOCK.findall(answer)
    return "\n\n".join(block.strip("\n") for block in blocks) if blocks else answer


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The unbiased estimate that at least one of k samples passes: 1 - C(n - c, k) / C(n, k) for c right of n.

    Chen et al. 2021, arXiv:2107.03374, equation 1. Raises ValueError when there are fewer than k samples.
    """
    if samples < k:
        raise ValueError(f"pass@{k} needs {k} samples, there are {samples}")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


async def passes(trials: Sequence[Trial], limits: Limits, unconfined: bool = False) -> list[bool | None]:
    """Whether each program passes, each in a fresh confined process; None where the sandbox broke.

    Raises EvaluationError when this system cannot keep programs from the network and from files, unless `unconfined`.
    """
    try:
        lacking = (await sandbox.isolation()).missing()
    except SandboxBroken as error:
        raise EvaluationError(f"The sandbox for programs does not work here: {error}") from None
    if lacking and not unconfined:
        raise EvaluationError(
            f"Programs that a model wrote are not run here: {lacking}",
            hint="Evaluate on Linux with seccomp and Landlock, or set the metric's option unconfined: true.",
        )
    parts = [trials[start : start + _TOGETHER] for start in range(0, len(trials), _TOGETHER)]
    gate = asyncio.Semaphore(2)

    async def one(part: Sequence[Trial]) -> list[bool | None]:
        calls = [(trial.code, {"setup": trial.setup, "tests": list(trial.tests)}) for trial in part]
        async with gate:
            try:
                results, _ = await sandbox.run(_PROGRAM, calls, limits)
            except SandboxBroken:
                return [None] * len(part)
        return [result.score == 1.0 for result in results]

    return [each for part in await asyncio.gather(*map(one, parts)) for each in part]
