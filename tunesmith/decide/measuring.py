"""Measuring one way to get answers on rows; what was measured before is taken from the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tunesmith import __version__
from tunesmith.decide.budget import Budget
from tunesmith.decide.evidence import Arm, Family
from tunesmith.engine.engine import Engine
from tunesmith.evaluate.asking import PromptRenderer, prompt_messages
from tunesmith.evaluate.stage import ContestantSpec, EvaluationInput
from tunesmith.progress import Progress
from tunesmith.store.values import read_value, write_value
from tunesmith.trials import Measurement, measure
from tunesmith.types.base import digest_json
from tunesmith.types.dataset import Example, SplitName
from tunesmith.types.recipe import EvaluateSpec
from tunesmith.types.report import Contestant

__all__ = ["Lab", "Result", "Way", "fits"]


class Way(NamedTuple):
    """A way to get answers: how a row is asked, and with which adapter (None: the base)."""

    name: str
    family: Family
    note: str
    row: Callable[[Example], Example]
    adapter: str | None = None
    run_id: str = ""


class Result(NamedTuple):
    """A way, what it is as an arm of the report, and all its answers."""

    way: Way
    arm: Arm
    contestant: Contestant

    @property
    def value(self) -> float:
        """The score as a number that is better when it is higher; below all others when nothing was scored."""
        value = self.arm.score.value
        if value is None:
            return float("-inf")
        return value if self.arm.score.better == "higher" else -value


class Lab(NamedTuple):
    """What stays the same while ways change. `identity` is all that answers depend on beside prompt and adapter;
    results are kept in `folder`.
    """

    spec: EvaluateSpec
    metric: str
    labels: tuple[str, ...]
    model: str
    identity: str
    folder: Path
    engine: Engine
    renderer: PromptRenderer
    budget: Budget
    progress: Progress

    async def result(
        self, way: Way, examples: Sequence[Example], split: SplitName, share: float = 1.0
    ) -> Result | None:
        """`way` on `examples` of `split`, measured or taken from before; None when this share of the time is over."""
        asked = tuple(way.row(example) for example in examples)
        file = self.folder / f"{self._digest(way, asked)}.json"
        found = read_value(file, Measurement)
        if found is None:
            where = f"{way.name} on {len(asked)} {split} rows"
            if not self.budget.allows(where, self.budget.answers(len(asked), way.name), share):
                return None
            found = await self._measured(way, asked)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_value(file, found)
        self.budget.took(way.name, len(asked), found.seconds)
        return Result(way, self._arm(way, found, split), found.contestant)

    async def _measured(self, way: Way, asked: tuple[Example, ...]) -> Measurement:
        contestant = ContestantSpec(name=way.name, model=self.model, adapter_digest=way.adapter, system_prompt=True)
        subject = EvaluationInput(contestants=(contestant,), examples=asked, labels=self.labels, dataset_digest="")
        return await measure(self.spec, subject, self.engine, self.renderer, self.progress)

    def _digest(self, way: Way, asked: Sequence[Example]) -> str:
        rows = [(row.id, digest_json(row.content.model_dump(mode="json"))) for row in asked]
        spec = self.spec.model_dump(mode="json")
        return digest_json([__version__, self.identity, spec, self.labels, way.name, way.adapter, rows])

    def _arm(self, way: Way, found: Measurement, split: SplitName) -> Arm:
        contestant = found.contestant
        return Arm(
            name=way.name,
            family=way.family,
            split=split,
            rows=len(contestant.predictions),
            score=contestant.scores[self.metric],
            scores=contestant.scores,
            prompt_tokens=found.prompt_tokens,
            answer_tokens=contestant.tokens_per_answer,
            seconds=found.seconds,
            latency=contestant.latency_median_seconds,
            concurrency=self.spec.concurrency,
            note=way.note,
            run_id=way.run_id,
        )


def fits(lab: Lab) -> Callable[[Example], bool]:
    """Whether a row's prompt and its answer fit into the engine's context."""
    room = lab.engine.context_length - lab.spec.max_new_tokens

    def check(example: Example) -> bool:
        return len(lab.renderer.prompt_ids(prompt_messages(example, True), example.conversation.tools)) <= room

    return check
