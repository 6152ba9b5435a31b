"""The contract of a workload: rows, how they are trained, what is wanted. Plugins lie in `bench.workloads`."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

from tunesmith import plugins
from tunesmith.types.base import Value

__all__ = ["DATA", "FOLDER", "Wanted", "Workload", "chat_row", "workload_names", "workload_of"]

FOLDER = "bench.workloads"
DATA = Path(__file__).parents[2] / "shared" / "data"
"""public data sets beside the project; `--data` names another folder"""


class Wanted(Value):
    """What is hoped for; shown beside what was measured, never a verdict."""

    speed: float | None = None
    """times the peer's effective tokens/s"""
    memory: float = 0.5
    """at most this share of the peer's peak"""
    peak_share: float | None = None
    """computed work as a share of the machine's peak in matrix products"""


class Workload(Value):
    """One line of the table. Each step trains `batch` examples (for grpo: prompts) of `rows`."""

    title: ClassVar[str]
    wanted: ClassVar[Wanted]
    batch: ClassVar[int] = 16
    learning_rate: ClassVar[float] = 2e-4
    max_tokens: ClassVar[int] = 2048
    full: ClassVar[bool] = False
    """every weight is trained instead of a LoRA"""
    peer: ClassVar[Literal["sft", "dpo", "grpo"]] = "sft"
    """the module of `bench.peers` that trains the same with TRL"""
    compared: ClassVar[Literal["losses", "gradient_norms"]] = "losses"
    """the curve that must be the peer's"""

    @abstractmethod
    def rows(self, data: Path) -> list[dict[str, Any]]:
        """Rows in one of the forms that `tunesmith prepare` reads; longer ones than `max_tokens` are left out.

        Raises FileNotFoundError when the data set is not under `data`.
        """

    def objective(self) -> dict[str, Any]:
        """The recipe's `train.objective`."""
        return {"name": "sft"}

    def grader(self) -> dict[str, Any] | None:
        """The recipe's `train.grader`, for objectives that learn from rewards."""
        return None

    def method(self, rank: int) -> dict[str, Any]:
        """The recipe's `train.method`: LoRA on all linear layers, or every weight."""
        return {"name": "full"} if self.full else {"name": "lora", "rank": rank}


def workload_names() -> tuple[str, ...]:
    """All workloads."""
    return plugins.names(FOLDER)


def workload_of(name: str) -> Workload:
    """The workload `name`."""
    found = plugins.load(FOLDER, name)()
    if not isinstance(found, Workload):
        raise TypeError(f"{FOLDER}.{name} is not a workload")
    return found


def chat_row(user: str, assistant: str, system: str | None = None) -> dict[str, Any]:
    """One question and its answer in OpenAI's form."""
    head = [{"role": "system", "content": system}] if system else []
    return {"messages": [*head, {"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}
