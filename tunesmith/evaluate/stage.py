"""evaluate: every contestant answers the same held-out rows through the engine that serves, and is measured."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tunesmith.engine.engine import Engine
from tunesmith.errors import EvaluationError, TunesmithError
from tunesmith.evaluate.asking import Answer, PromptRenderer, ask, in_parallel, prompt_messages
from tunesmith.evaluate.compare import compare_all
from tunesmith.evaluate.grading import graded
from tunesmith.evaluate.labels import label_reader
from tunesmith.evaluate.metric import load_metric
from tunesmith.evaluate.questioning import REFERENCE_METRICS
from tunesmith.evaluate.scoring import class_scores, confusions, score
from tunesmith.progress import Progress, Task
from tunesmith.types.base import Value
from tunesmith.types.dataset import Example
from tunesmith.types.recipe import EvaluateSpec
from tunesmith.types.report import Contestant, EvaluationReport, Prediction
from tunesmith.types.suite import Item, Suite

__all__ = ["ContestantSpec", "EvaluationInput", "contestants_of", "evaluate"]

Result = TypeVar("Result")


class ContestantSpec(Value):
    """One model under test: which adapter on the base (None: none), and whether it sees the rows' system prompt."""

    name: str
    model: str
    adapter_digest: str | None
    system_prompt: bool


class EvaluationInput(Value):
    """Who is measured on what. `labels` are the known labels (empty when the task is not a classification).

    `suites` are asked besides the rows; `system_prompt` is the one that all rows open with.
    """

    contestants: tuple[ContestantSpec, ...]
    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    dataset_digest: str
    suites: tuple[Suite, ...] = ()
    system_prompt: str | None = None


def contestants_of(spec: EvaluateSpec, base: str, adapter_digest: str) -> tuple[ContestantSpec, ...]:
    """The contestants that `spec.compare` names, in its order; `base` is the base model's name."""
    known = {
        "base": ContestantSpec(name="base", model=base, adapter_digest=None, system_prompt=False),
        "prompt_only": ContestantSpec(name="prompt_only", model=base, adapter_digest=None, system_prompt=True),
        "tuned": ContestantSpec(name="tuned", model=base, adapter_digest=adapter_digest, system_prompt=True),
    }
    return tuple(known[name] for name in dict.fromkeys(spec.compare))


async def evaluate(
    spec: EvaluateSpec, subject: EvaluationInput, *, engine: Engine, renderer: PromptRenderer, progress: Progress
) -> EvaluationReport:
    """Ask every contestant every row (the first `spec.limit` when it is set), score and compare them.

    Answers are greedy. Latency is measured with up to `spec.concurrency` requests in flight. Labels in an answer are
    read by `evaluate.labels`.

    Raises:
        EvaluationError: no rows, rows without answers, no contestants, two of one name, or the engine refused a row
            (which is named).
        NotFound, RecipeError: `spec.metrics` names an unknown metric, or options that it does not have.
    """
    for metric in spec.measured:
        load_metric(metric).terms(
            (), subject.labels
        )  # what a metric lacks (prices, a package) is said before any answer
    examples = subject.examples[: spec.limit] if spec.limit else subject.examples
    _require_rows_and_names(spec, subject, examples)
    bench = _Bench(spec, subject.labels, examples, engine, renderer)
    contestants = tuple([await bench.measure(contestant, progress) for contestant in subject.contestants])
    return EvaluationReport(
        dataset_digest=subject.dataset_digest,
        split=spec.split,
        rows=len(examples),
        labels=subject.labels,
        contestants=contestants,
        comparisons=compare_all(contestants, subject.labels, spec.confidence),
        questions={example.id: _question(example) for example in examples},
        concurrency=spec.concurrency,
        confidence=spec.confidence,
        max_new_tokens=spec.max_new_tokens,
    )


class _Bench:
    """What stays the same while the contestants change."""

    def __init__(
        self,
        spec: EvaluateSpec,
        labels: tuple[str, ...],
        examples: tuple[Example, ...],
        engine: Engine,
        renderer: PromptRenderer,
    ) -> None:
        self.spec, self.labels, self.examples = spec, labels, examples
        self.engine, self.renderer = engine, renderer

    async def measure(self, contestant: ContestantSpec, progress: Progress) -> Contestant:
        """All that is measured of one contestant.

        A row's reference is scored right after its answer, while the engine still holds the prompt's keys and values.
        """
        with progress.task(f"evaluating {contestant.name}", total=len(self.examples), unit="row") as task:
            rows = await self._each(contestant, self._answer_and_score, task)
        read = label_reader(self.labels)
        predictions = tuple(
            Prediction(
                example_id=example.id,
                reference=example.conversation.reference,
                answer=answer.text,
                label=read(answer.text),
                tokens=answer.tokens,
                seconds=answer.seconds,
                first_token_seconds=answer.first_token_seconds,
                finish_reason=answer.finish_reason,
                prompt_tokens=answer.prompt_tokens,
                token_logprobs=answer.logprobs,
                reference_logprob=None if logprobs is None else sum(logprobs),
                reference_tokens=0 if logprobs is None else len(logprobs),
            )
            for example, (answer, logprobs) in zip(self.examples, rows, strict=True)
        )
        items = [_item(example) for example in self.examples]
        return self._scored(contestant, await graded(self.spec.measured, items, predictions, None, None))

    def _scored(self, contestant: ContestantSpec, predictions: tuple[Prediction, ...]) -> Contestant:
        return Contestant(
            name=contestant.name,
            model=contestant.model,
            adapter_digest=contestant.adapter_digest,
            system_prompt=contestant.system_prompt,
            scores={
                each.title: score(each, predictions, self.labels, self.spec.confidence) for each in self.spec.measured
            },
            classes=class_scores(predictions, self.labels),
            confusions=confusions(predictions, self.labels),
            tokens_per_answer=statistics.fmean(row.tokens for row in predictions),
            latency_median_seconds=statistics.median(row.seconds for row in predictions),
            predictions=predictions,
        )

    async def _each(
        self, contestant: ContestantSpec, work: Callable[[ContestantSpec, Example], Awaitable[Result]], task: Task
    ) -> list[Result]:
        async def named(example: Example) -> Result:
            try:
                return await work(contestant, example)
            except TunesmithError as error:
                where = f"{contestant.name} could not answer {example.source}:{example.line}"
                raise EvaluationError(f"{where}: {error.message}", hint=error.hint) from error

        return await in_parallel(self.examples, named, self.spec.concurrency, task.advance)

    async def _answer_and_score(
        self, contestant: ContestantSpec, example: Example
    ) -> tuple[Answer, tuple[float, ...] | None]:
        prompt = self._prompt(contestant, example)
        answer = await ask(self.engine, prompt, contestant.adapter_digest, self.spec.max_new_tokens)
        if not any(each.name in REFERENCE_METRICS for each in self.spec.measured):
            return answer, None
        reference = self.renderer.answer_ids(example.conversation.reference)
        return answer, await self.engine.score(prompt, reference, contestant.adapter_digest)

    def _prompt(self, contestant: ContestantSpec, example: Example) -> tuple[int, ...]:
        return self.renderer.prompt_ids(prompt_messages(example, contestant.system_prompt), example.conversation.tools)


def _require_rows_and_names(spec: EvaluateSpec, subject: EvaluationInput, examples: Sequence[Example]) -> None:
    if not examples:
        raise EvaluationError(
            f"The {spec.split} split has no rows to evaluate on.",
            hint=f"Give prepare.split.{spec.split} a share above 0, or mark a source with split: {spec.split}.",
        )
    if examples[0].content.shape == "text":
        raise EvaluationError(
            "Plain text has no answers to compare.",
            hint="tunesmith train measures the loss of its validation split; evaluate on rows with answers.",
        )
    names = [contestant.name for contestant in subject.contestants]
    if not names or len(set(names)) < len(names):
        raise EvaluationError(
            f"Contestants need distinct names and there must be one at least; got {names}.",
            hint="List each of base, prompt_only, tuned at most once in evaluate.compare.",
        )


def _item(example: Example) -> Item:
    prompt, reference = example.conversation.prompt, example.conversation.reference
    return Item(id=example.id, type="qa", messages=prompt, tools=example.conversation.tools, reference=reference)


def _question(example: Example) -> str:
    asked = [message.content or "" for message in example.conversation.prompt if message.role == "user"]
    return asked[-1] if asked else ""
