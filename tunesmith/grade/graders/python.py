"""python: the user's own `grade(sample, item)`, run in a sandbox."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pydantic import Field, field_validator

from tunesmith.grade import sandbox
from tunesmith.grade.grader import Answered, Grade, GradeError, Grader, unscored
from tunesmith.grade.judge import Judge

__all__ = ["Python"]

_ERRORS: Mapping[str, GradeError] = MappingProxyType({"died": "python_grader_server_error"})


class Python(Grader):
    """The number that `grade(sample, item)` of `source` returns; `sample` has output_text, output_json, output_tools.

    Never runs in Tunesmith's process: each call has a fresh one with at most `timeout_seconds`, `memory_megabytes`,
    10 MB per written file, no network and no other processes. Packages installed beside Tunesmith can be imported.
    An exception, a time-out or anything but a finite number leaves the answer unscored.
    """

    source: str
    timeout_seconds: float = Field(default=10.0, gt=0.0, le=120.0)
    memory_megabytes: int = Field(default=1024, ge=64)

    @field_validator("source")
    @classmethod
    def _defines_grade(cls, source: str) -> str:
        try:
            with warnings.catch_warnings(action="ignore"):  # style of the user's source, such as "\d"
                tree = ast.parse(source)
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"is not Python: {error}") from None
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == "grade":
                if len(node.args.posonlyargs + node.args.args) != 2:
                    raise ValueError(f"line {node.lineno}: grade takes exactly (sample, item)")
                return source
        raise ValueError("defines no function grade(sample, item)")

    async def warning(self) -> str | None:
        """What this system cannot enforce on the user's code."""
        return (await sandbox.isolation()).missing()

    async def grade(self, answers: Sequence[Answered], judge: Judge | None = None) -> list[Grade]:
        """What the function returns for each answer."""
        limits = sandbox.Limits(self.timeout_seconds, self.memory_megabytes << 20)
        calls = [(answered.sample.namespace(), dict(answered.item)) for answered in answers]
        try:
            results, _ = await sandbox.run(self.source, calls, limits)
        except sandbox.SandboxBroken as error:
            return [unscored("python_grader_server_error", f"the sandbox broke: {error}") for _ in answers]
        return [
            Grade(score=result.score)
            if result.error is None
            else unscored(_ERRORS.get(result.error, "python_grader_runtime_error"), result.detail)
            for result in results
        ]
