"""Running suites on subjects that are scripted: turns, samples, options, grades, failures, and what is kept."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from tunesmith.engine.backends._replay import EchoEngine
from tunesmith.errors import EvaluationError, RecipeError
from tunesmith.evaluate.answer_store import AnswerStore
from tunesmith.evaluate.engine_subject import EngineSubject, Served
from tunesmith.evaluate.item import read_item
from tunesmith.evaluate.running import RunOptions, asked_items, run_suite
from tunesmith.evaluate.subject import Asked, Reply
from tunesmith.grade.judge import Judgement
from tunesmith.progress import Silent
from tunesmith.testing.echo import ByteCodec, echo_engine
from tunesmith.types.conversation import Message
from tunesmith.types.fields import MetricSpec
from tunesmith.types.report import EvaluationReport
from tunesmith.types.suite import Item, Pairwise, Suite
from tunesmith.types.tool_syntax import Part, ToolSyntax


def item(number: int, reference: str = "", **more: Any) -> Item:
    question = Message(role="user", content=f"question {number}")
    return Item(id=f"i{number}", type="qa", messages=(question,), reference=reference, **more)


def suite(*items: Item, metrics: tuple[str, ...] = ("exact_match",), **more: Any) -> Suite:
    return Suite(name="s", items=items, metrics=tuple(MetricSpec(name=name) for name in metrics), **more)


class Scripted:
    """Answers with the last word it was told; refuses what contains `refuse`."""

    def __init__(self, name: str = "model", refuse: str = "\0", answer: str = "") -> None:
        self.name, self.refuse, self.fixed = name, refuse, answer
        self.asked: list[tuple[str, ...]] = []
        self.options: list[Asked] = []
        self.scored: list[str] = []
        self.running = self.most_running = 0

    @property
    def identity(self) -> dict[str, Any]:
        return {"model": self.name, "fixed": self.fixed}

    async def answer(self, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
        texts = tuple(message.content or "" for message in messages)
        if self.refuse in texts[-1]:
            raise EvaluationError("does not fit", hint="shorten it")
        self.asked.append(texts)
        self.options.append(asked)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        said = self.fixed or texts[-1].split()[-1] + (f"~{asked.seed}" if asked.seed is not None else "")
        return Reply(f" {said}\n", 2, 5, 0.5, 0.25, "stop", (), (-0.5, -0.25))

    async def logprob(self, item: Item, answer: str) -> tuple[float, int] | None:
        self.scored.append(answer)
        return -float(len(answer)), len(answer)


def run(what: Suite, *subjects: Any, answers: AnswerStore | None = None, **options: Any) -> EvaluationReport:
    return asyncio.run(run_suite(what, subjects, RunOptions(**options), Silent(), None, answers))


def test_every_subject_answers_every_item_and_is_compared() -> None:
    what = suite(*(item(n, str(n), tags={"half": str(n % 2)}) for n in range(40)))
    good, bad = Scripted("good"), Scripted("bad", answer="7")
    report = run(what, good, bad, concurrency=4)
    assert [each.scores["exact_match"].value for each in report.contestants] == [1.0, 1 / 40]
    (comparison,) = report.comparisons
    assert (comparison.model, comparison.baseline, comparison.won, comparison.lost) == ("bad", "good", 0, 39)
    assert good.most_running == 4
    row = report.contestant("good").predictions[3]
    assert (row.example_id, row.answer, row.tags, row.prompt_tokens) == ("i3", "3", {"half": "1"}, 5)
    assert row.token_logprobs == (-0.5, -0.25)
    assert report.questions["i3"] == "question 3"
    assert EvaluationReport.model_validate_json(report.model_dump_json()) == report


def test_a_conversation_is_led_to_its_last_answer() -> None:
    subject = Scripted()
    report = run(suite(item(1, "six", followups=("then five", "then six"))), subject)
    assert subject.asked == [
        ("question 1",),
        ("question 1", " 1\n", "then five"),
        ("question 1", " 1\n", "then five", " five\n", "then six"),
    ]
    assert report.contestants[0].predictions[0].answer == "six"
    assert report.questions["i1"] == "then six"


def test_samples_are_drawn_with_seeds_of_their_own() -> None:
    subject = Scripted()
    report = run(suite(item(1), samples=3, temperature=0.8, seed=10, max_new_tokens=9), subject)
    assert report.contestants[0].predictions[0].samples == ("1~10", "1~11", "1~12")
    assert subject.options[0] == Asked(max_new_tokens=9, temperature=0.8, seed=10)


def test_options_are_scored_and_so_is_the_reference_where_a_metric_reads_it() -> None:
    subject = Scripted()
    what = suite(item(1, "yes", options=("yes", "never")), metrics=("exact_match", "perplexity"))
    (row,) = run(what, subject).contestants[0].predictions
    assert (row.options, row.option_logprobs) == (("yes", "never"), (-3.0, -5.0))
    assert (row.reference_logprob, row.reference_tokens) == (-3.0, 3)
    assert subject.scored == ["yes", "never", "yes"]
    assert run(suite(item(1, "yes")), Scripted()).contestants[0].predictions[0].reference_logprob is None


def test_perplexity_is_of_texts_and_leaves_the_letters_of_choices_out() -> None:
    asked: dict[str, Any] = {"question": "Which?", "options": ["a cat", "a dog"], "answer": "B"}
    letter, _ = read_item({"id": "letter", "type": "multiple_choice", **asked}, "")
    text, _ = read_item({"id": "text", "type": "multiple_choice", "score": "text", **asked}, "")
    passage, _ = read_item({"id": "passage", "type": "qa", "question": "Go on.", "answer": "B"}, "")
    what = suite(letter, text, passage, metrics=("multiple_choice_accuracy", "perplexity"))
    (found,) = run(what, Scripted()).contestants
    logprobs = {row.example_id: row.reference_logprob for row in found.predictions}
    assert logprobs == {"letter": None, "text": -5.0, "passage": -1.0}  # Scripted: a nat for each character
    score = found.scores["perplexity"]
    assert (score.n, score.unscored, score.value) == (2, 1, pytest.approx(math.e))
    assert found.scores["multiple_choice_accuracy"].n == 2


def test_perplexity_needs_a_text_that_follows_the_items_own_messages() -> None:
    """An item without a reference has nothing to be surprised at; that of several turns answers the last one."""
    turns = item(3, "text", followups=("and then?",))
    (found,) = run(suite(item(1, "ab"), item(2), turns, metrics=("perplexity",)), Scripted()).contestants
    assert [row.reference_logprob for row in found.predictions] == [-2.0, None, None]
    assert (found.scores["perplexity"].n, found.scores["perplexity"].unscored) == (1, 2)


def test_an_item_without_an_answer_is_unscored_and_says_why() -> None:
    what = suite(*(item(n, str(n)) for n in range(10)))
    (contestant,) = run(what, Scripted(refuse="question 3")).contestants
    score = contestant.scores["exact_match"]
    assert (score.value, score.n, score.unscored) == (1.0, 9, 1)
    assert contestant.predictions[3].error == "does not fit"
    assert contestant.tokens_per_answer == 2


def test_a_subject_that_answers_nothing_ends_the_run_early() -> None:
    subject = Scripted(refuse="question")
    with pytest.raises(EvaluationError, match="does not fit") as caught:
        run(suite(*(item(n) for n in range(500))), subject, concurrency=8)
    assert caught.value.hint == "shorten it"
    with pytest.raises(EvaluationError, match="first 2 items"):
        run(suite(item(1), item(2)), subject)


def test_two_of_one_name_cannot_be_told_apart() -> None:
    with pytest.raises(EvaluationError, match="distinct names"):
        run(suite(item(1)), Scripted(), Scripted())


class Silence:
    """A subject that fails the test when it is asked."""

    name, identity = "silence", {"model": "m"}

    async def ask(self, asked: Asked) -> Reply:
        raise AssertionError("nobody is to be asked before the judges are there")

    async def score(self, *given: Any) -> Any:
        raise AssertionError("nobody is to be asked before the judges are there")


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({"metrics": (MetricSpec(name="judge"),)}, "metrics.judge.model: names no model"),
        (
            {"metrics": (MetricSpec.model_validate({"name": "judge", "model": "m"}),)},
            "judge.base_url: no server",
        ),
        (
            {"metrics": (MetricSpec.model_validate({"name": "groundedness", "model": "m"}),)},
            "metrics.groundedness.base_url: no server",
        ),
        ({"pairwise": Pairwise(model="referee")}, "pairwise.base_url: no server is named to ask referee at"),
        (
            {"pairwise": Pairwise(model="referee", base_url="http://127.0.0.1:9/v1", baseline="silense")},
            "did you mean 'silence'",
        ),
    ],
)
def test_a_judge_that_nobody_can_ask_is_said_before_anything_is_asked(extra: dict[str, Any], problem: str) -> None:
    item = Item(id="i", type="qa", messages=(Message(role="user", content="?"),), reference="a")
    suite = Suite.model_validate({"name": "s", "items": (item,), "metrics": (MetricSpec(name="exact_match"),), **extra})
    with pytest.raises(RecipeError) as refused:
        asyncio.run(run_suite(suite, [Silence()], RunOptions(), Silent()))
    assert problem in str(refused.value)


def test_a_smaller_limit_asks_a_part_of_a_larger_one() -> None:
    what = suite(*(item(n) for n in range(50)))
    few, more = asked_items(what, 10), asked_items(what, 20)
    assert len(few) == 10
    assert {each.id for each in few} < {each.id for each in more}
    assert [each.id for each in few] == sorted((each.id for each in few), key=lambda name: int(name[1:]))
    assert run(what, Scripted(), limit=10).rows == 10


def test_what_was_answered_before_is_not_asked_again(tmp_path: Path) -> None:
    what = suite(item(1, "1", followups=("more",)), item(2, "2", options=("a", "b")))
    first = run(what, Scripted(), answers=AnswerStore(tmp_path))
    again = Scripted()
    assert run(what, again, answers=AnswerStore(tmp_path)) == first
    assert (again.asked, again.scored) == ([], [])
    other = Scripted(answer="!")
    run(what, other, answers=AnswerStore(tmp_path))
    assert len(other.asked) == 3
    renamed = what.model_copy(update={"items": tuple(each.model_copy(update={"id": "x"}) for each in what.items[:1])})
    run(renamed, again, answers=AnswerStore(tmp_path))
    assert again.asked == []
    longer = what.model_copy(update={"max_new_tokens": 5})
    run(longer, again, answers=AnswerStore(tmp_path))
    assert len(again.asked) == 3


def test_a_torn_line_is_asked_again_and_spoils_no_other(tmp_path: Path) -> None:
    what = suite(*(item(n, str(n)) for n in range(4)))
    whole = run(what, Scripted(), answers=AnswerStore(tmp_path), concurrency=1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    subject = Scripted()
    assert run(what, subject, answers=AnswerStore(tmp_path), concurrency=1) == whole
    assert subject.asked == [("question 3",)]
    nobody = Scripted()
    run(what, nobody, answers=AnswerStore(tmp_path))
    assert nobody.asked == []


class Prefers:
    """A judge that prefers the answer with 'good' in it, wherever it stands."""

    async def ask(self, model: str, messages: Any, options: Any) -> Judgement:
        first, _, second = messages[0]["content"].partition("Answer of assistant B:")
        better = "A" if "good" in first else "B" if "good" in second else "tie"
        return Judgement(f'{{"better": "{better}"}}', None, 1)

    async def embed(self, model: str, texts: Any) -> list[list[float]]:
        raise AssertionError("nobody asked for this")


def test_a_judge_compares_the_answers_of_two_models() -> None:
    what = suite(*(item(n) for n in range(6)), pairwise=Pairwise(model="judge"))
    subjects = [Scripted("first", answer="bad"), Scripted("second", answer="good")]
    report = asyncio.run(run_suite(what, subjects, RunOptions(), Silent(), Prefers()))
    (found,) = report.wins
    assert (found.model, found.baseline, found.wins, found.losses, found.agreement) == ("second", "first", 6, 0, 1.0)


class ByteRenderer(ByteCodec):
    """Conversations as bytes; a call is written <NAME {...}>."""

    tool_syntax = ToolSyntax(
        opening=(Part(text="<"),), middle=(Part(text=" "),), between=None, closing=(Part(text=">"),)
    )

    def prompt_ids(self, messages: Any, tools: Any = ()) -> tuple[int, ...]:
        return tuple("|".join(message.content or "" for message in messages).encode())


def engine_subject(engine: EchoEngine, adapter: str | None = None) -> EngineSubject:
    return EngineSubject("echo", Served(engine, ByteRenderer(), "echo", adapter, {"base": "b"}))


def test_an_engine_in_this_process() -> None:
    tool = {"type": "function", "function": {"name": "close", "parameters": {}}}
    asked = (item(1, "one"), item(2, options=("two", "no")), item(3, tools=(tool,)))
    engine = echo_engine({"question 1": "one", "question 2": "two", "question 3": 'Well. <close {"id": 7}>'})
    rows = run(suite(*asked), engine_subject(engine)).contestants[0].predictions
    assert [row.answer for row in rows] == ["one", "two", "Well."]
    assert rows[0].tokens == 4
    assert rows[1].option_logprobs[0] > rows[1].option_logprobs[1]
    assert (rows[2].calls, rows[2].finish_reason) == (({"name": "close", "arguments": '{"id": 7}'},), "tool_calls")


def test_an_engine_s_refusal_is_an_unscored_row() -> None:
    long = item(9).model_copy(update={"messages": (Message(role="user", content="x" * 5000),)})
    rows = run(suite(item(1), long), engine_subject(echo_engine())).contestants[0].predictions
    assert [bool(row.error) for row in rows] == [False, True]
