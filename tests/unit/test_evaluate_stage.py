from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tunesmith.engine.engine import GenerationRequest, TokenEvent
from tunesmith.errors import EngineError, EvaluationError, NotFound
from tunesmith.evaluate.cache import FILE_NAME, evaluation_digest, read_report, write_report
from tunesmith.evaluate.report.glossary import glossary
from tunesmith.evaluate.stage import ContestantSpec, EvaluationInput, contestants_of, evaluate
from tunesmith.progress import Silent, Task
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.dataset import Example
from tunesmith.types.recipe import EvaluateSpec
from tunesmith.types.tracked import track, unread

LABELS = ("fee", "fraud")
BASE = ContestantSpec(name="base", model="tiny", adapter_digest=None, system_prompt=False)
PROMPTED = ContestantSpec(name="prompt_only", model="tiny", adapter_digest=None, system_prompt=True)
TUNED = ContestantSpec(name="tuned", model="tiny", adapter_digest="d1", system_prompt=True)


class LetterRenderer:
    """Ids are code points, so that a test can read what an engine was asked."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> tuple[int, ...]:
        return tuple(ord(each) for message in messages for each in f"<{message.role}>{message.content}")

    def answer_ids(self, text: str) -> tuple[int, ...]:
        return (*(ord(each) for each in text), 0)


class ScriptedEngine:
    """Answers the question's last word with an adapter; else 'fee' under a system prompt, else nonsense."""

    def __init__(self, refuse: str | None = None) -> None:
        self.prompts: list[str] = []
        self.running = self.most_running = 0
        self.refuse = refuse

    async def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        prompt = "".join(chr(each) for each in request.prompt_ids)
        if self.refuse and self.refuse in prompt:
            raise EngineError("prompt does not fit", hint="shorten it")
        assert request.sampling.temperature == 0.0
        self.prompts.append(prompt)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0.001)
        fallback = "fee" if "<system>" in prompt else "what?"
        answer = prompt.split()[-1] if request.adapter else fallback
        yield TokenEvent(token_id=1, text=" " + answer[:2], logprob=-0.1)
        yield TokenEvent(token_id=2, text=answer[2:], logprob=-0.1)
        self.running -= 1
        yield TokenEvent(token_id=0, text="", logprob=-0.1, finish_reason="stop")

    async def score(
        self, prompt_ids: tuple[int, ...], answer_ids: tuple[int, ...], adapter: str | None
    ) -> tuple[float, ...]:
        return (math.log(0.5 if adapter else 0.25),) * len(answer_ids)

    async def load_adapter(self, digest: str, path: Path) -> None: ...

    async def unload_adapter(self, digest: str) -> None: ...

    def adapters(self) -> tuple[str, ...]:
        return ("d1",)

    async def close(self) -> None: ...


class CountingProgress(Silent):
    """Remembers each bar's total and how far it came."""

    def __init__(self) -> None:
        self.bars: dict[str, list[int]] = {}

    @contextmanager
    def task(self, description: str, total: int, unit: str = "row") -> Iterator[Task]:
        bar = self.bars.setdefault(description, [total, 0])

        class Bar:
            def advance(self, steps: int = 1, **fields: float | str) -> None:
                bar[1] += steps

        yield Bar()


def example(index: int, text: str, label: str) -> Example:
    messages = (
        Message(role="system", content="Choose."),
        Message(role="user", content=text),
        Message(role="assistant", content=label),
    )
    return Example(id=f"id{index}", source="rows.csv", line=index + 2, content=Conversation(messages=messages))


EXAMPLES = (
    example(0, "charged twice fee", "fee"),
    example(1, "stolen card fraud", "fraud"),
    example(2, "who is this fraud", "fraud"),
    example(3, "late again fraud", "fee"),
)
SUBJECT = EvaluationInput(contestants=(BASE, PROMPTED, TUNED), examples=EXAMPLES, labels=LABELS, dataset_digest="data")


def run(spec: EvaluateSpec, subject: EvaluationInput = SUBJECT, engine: ScriptedEngine | None = None) -> Any:
    chosen = engine or ScriptedEngine()
    return asyncio.run(evaluate(spec, subject, engine=chosen, renderer=LetterRenderer(), progress=Silent()))


def test_three_contestants_answer_the_same_rows() -> None:
    report = run(EvaluateSpec())
    scores = {each.name: each.scores for each in report.contestants}
    assert scores["base"]["invalid_rate"].value == 1.0
    assert scores["prompt_only"]["accuracy"].value == 0.5
    assert scores["tuned"]["accuracy"].value == 0.75
    assert scores["tuned"]["perplexity"].value == pytest.approx(2.0)
    assert scores["base"]["perplexity"].value == pytest.approx(4.0)
    assert (report.rows, report.labels, report.split, report.concurrency) == (4, LABELS, "test", 16)
    assert report.questions["id1"] == "stolen card fraud"
    assert len(report.comparisons) == 3 * 5
    assert report.contestant("tuned").confusions[0].count == 2


def test_predictions_hold_what_a_served_request_would_see() -> None:
    row = run(EvaluateSpec()).contestant("tuned").predictions[1]
    assert (row.example_id, row.reference, row.answer, row.label) == ("id1", "fraud", "fraud", "fraud")
    assert (row.tokens, row.finish_reason, row.reference_tokens) == (3, "stop", 6)
    assert 0 < row.first_token_seconds <= row.seconds
    assert row.reference_logprob == pytest.approx(6 * math.log(0.5))


def test_every_kind_of_metric_gets_what_it_reads() -> None:
    report = run(
        EvaluateSpec(metrics=("bits_per_byte", "ece", "latency", "bleu", "f1", "tokens_per_answer", "pass_at_k"))
    )
    tuned = report.contestant("tuned")
    # rows of 3 or 5 letters and their end: (4 + 6 + 6 + 4) bits over 3 + 5 + 5 + 3 bytes
    assert tuned.scores["bits_per_byte"].value == pytest.approx(20 / 16)
    assert tuned.scores["ece"].value == pytest.approx(math.exp(-0.1) - 0.75)
    assert tuned.scores["latency"].value == max(row.seconds for row in tuned.predictions)
    assert {name for name, found in tuned.scores.items() if found.n < 4} == {"pass_at_k"}  # no row has tests
    assert tuned.predictions[0].prompt_tokens == len("<system>Choose.<user>charged twice fee")


def test_metrics_with_options_go_by_their_labels() -> None:
    specs = [{"name": "recall", "only": "fraud", "label": "fraud recall"}, "recall"]
    spec = track(EvaluateSpec.model_validate({"metrics": specs}))
    report = run(spec)
    tuned = report.contestant("tuned")
    assert list(tuned.scores) == ["fraud recall", "recall"]
    found = tuned.scores["fraud recall"]
    assert (found.metric, found.options) == ("recall", {"only": "fraud"})
    (fraud,) = [each for each in tuned.classes if each.label == "fraud"]
    assert found.value == pytest.approx(fraud.recall)
    assert {each.metric for each in report.comparisons} == {"fraud recall", "recall"}
    assert dict(glossary(report))["Fraud recall"] == dict(glossary(report))["Recall"]
    assert not [name for name in unread(spec) if name.startswith("metrics")]


def test_a_metric_without_what_it_needs_is_refused_before_anything_is_asked() -> None:
    engine = ScriptedEngine()
    with pytest.raises(EvaluationError, match="cost_per_request needs prices"):
        run(EvaluateSpec(metrics=("accuracy", "cost_per_request")), engine=engine)
    assert engine.prompts == []


def test_base_is_asked_without_the_system_message() -> None:
    engine = ScriptedEngine()
    run(EvaluateSpec(), SUBJECT.model_copy(update={"contestants": (BASE,)}), engine)
    assert all("<system>" not in prompt for prompt in engine.prompts)
    run(EvaluateSpec(), SUBJECT.model_copy(update={"contestants": (PROMPTED,)}), engine)
    assert all("<system>Choose." in prompt for prompt in engine.prompts[4:])


@pytest.mark.parametrize("concurrency", [1, 3])
def test_requests_run_together_up_to_the_limit(concurrency: int) -> None:
    engine = ScriptedEngine()
    run(EvaluateSpec(concurrency=concurrency), engine=engine)
    assert engine.most_running == concurrency


def test_limit_takes_the_first_rows() -> None:
    report = run(EvaluateSpec(limit=2))
    assert [row.example_id for row in report.contestants[0].predictions] == ["id0", "id1"]


def test_without_perplexity_nothing_is_scored() -> None:
    report = run(EvaluateSpec(metrics=("accuracy",)))
    assert report.contestant("tuned").predictions[0].reference_logprob is None
    assert set(report.contestant("tuned").scores) == {"accuracy"}


def test_each_contestant_has_a_bar_that_fills() -> None:
    progress = CountingProgress()
    asyncio.run(
        evaluate(EvaluateSpec(), SUBJECT, engine=ScriptedEngine(), renderer=LetterRenderer(), progress=progress)
    )
    assert progress.bars == {f"evaluating {name}": [4, 4] for name in ("base", "prompt_only", "tuned")}


def test_a_refused_row_is_named() -> None:
    with pytest.raises(EvaluationError, match=r"base could not answer rows.csv:4: prompt does not fit") as caught:
        run(EvaluateSpec(), engine=ScriptedEngine(refuse="who is this"))
    assert caught.value.hint == "shorten it"


def test_no_rows_are_refused_with_the_field_to_change() -> None:
    with pytest.raises(EvaluationError, match="test split has no rows") as caught:
        run(EvaluateSpec(), SUBJECT.model_copy(update={"examples": ()}))
    assert "prepare.split.test" in str(caught.value)


@pytest.mark.parametrize("contestants", [(), (BASE, BASE)])
def test_contestants_need_distinct_names(contestants: tuple[ContestantSpec, ...]) -> None:
    with pytest.raises(EvaluationError, match="distinct names"):
        run(EvaluateSpec(), SUBJECT.model_copy(update={"contestants": contestants}))


def test_an_unknown_metric_is_refused_before_anything_runs() -> None:
    engine = ScriptedEngine()
    with pytest.raises(NotFound, match="Did you mean 'accuracy'"):
        run(EvaluateSpec(metrics=("acuracy",)), engine=engine)
    assert engine.prompts == []


def test_contestants_of_a_recipe() -> None:
    found = contestants_of(EvaluateSpec(compare=("tuned", "base")), "tiny", "d1")
    assert found == (TUNED, BASE)
    assert contestants_of(EvaluateSpec(), "tiny", "d1") == (BASE, PROMPTED, TUNED)


def test_a_stored_report_is_reused_only_for_the_same_content(tmp_path: Path) -> None:
    served = {"base_digest": "b", "template_digest": "t", "precision": "float32"}
    digest = evaluation_digest(EvaluateSpec(), SUBJECT, **served)
    assert read_report(tmp_path / "run", digest) is None
    report = run(EvaluateSpec())
    assert write_report(report, tmp_path / "run", digest).name == FILE_NAME
    assert read_report(tmp_path / "run", digest) == report
    assert read_report(tmp_path / "run", "other") is None
    assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE_NAME]


def test_the_digest_depends_on_everything_that_matters() -> None:
    served = {"base_digest": "b", "template_digest": "t", "precision": "float32"}
    first = evaluation_digest(EvaluateSpec(), SUBJECT, **served)
    assert first == evaluation_digest(EvaluateSpec(), SUBJECT, **served)
    fewer = SUBJECT.model_copy(update={"examples": EXAMPLES[:2]})
    other = SUBJECT.model_copy(update={"contestants": (BASE,)})
    changed = {
        evaluation_digest(EvaluateSpec(limit=2), SUBJECT, **served),
        evaluation_digest(EvaluateSpec(), fewer, **served),
        evaluation_digest(EvaluateSpec(), other, **served),
        evaluation_digest(EvaluateSpec(), SUBJECT, **{**served, "precision": "bfloat16"}),
        evaluation_digest(EvaluateSpec(), SUBJECT, **{**served, "base_digest": "c"}),
        evaluation_digest(EvaluateSpec(), SUBJECT, **{**served, "template_digest": "u"}),
    }
    assert len(changed) == 6
    assert first not in changed


@pytest.mark.parametrize("content", ["{", '{"digest": "x"}', '{"digest": "x", "report": {}}', "[]"])
def test_a_damaged_report_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(EvaluationError, match="Delete it to evaluate again"):
        read_report(tmp_path, "x")
