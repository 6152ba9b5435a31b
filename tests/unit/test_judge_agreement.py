"""A judge beside people: the coefficients, what a suite may carry, and where reports show them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import RecipeError
from tunesmith.evaluate.answer_store import AnswerStore
from tunesmith.evaluate.judge_agreement import agreement
from tunesmith.evaluate.report.suite_files import FORMATS, write_reports
from tunesmith.evaluate.running import RunOptions, run_suite
from tunesmith.evaluate.subject import Asked, Reply
from tunesmith.evaluate.suite import load_suite
from tunesmith.grade.judge import JudgeFailed, Judgement
from tunesmith.progress import Silent
from tunesmith.types.conversation import Message
from tunesmith.types.report import EvaluationReport
from tunesmith.types.suite import Item, Suite

JUDGE = "{name: judge, label: tone, model: referee, rubric: tone, low: 1, high: 5}"
SUITE = f"""suite: letters
metrics: [{JUDGE}]
items:
  - type: instruction
    question: Say that it is late.
    human: [{{answer: polite, grade: 5}}, {{answer: rude, grade: 1}}, {{answer: dull, grade: 3}}]
evals:
  - prompt: Say no.
    rubric: It says no.
    human: [{{answer: no, grade: 4}}]
"""


class Subject:
    """Says hello to everything."""

    name = "model"

    @property
    def identity(self) -> dict[str, Any]:
        return {"model": "model"}

    async def answer(self, item: Item, messages: tuple[Message, ...], asked: Asked) -> Reply:
        return Reply("hello", 2, 5, 0.5, 0.25, "stop", ())

    async def logprob(self, item: Item, answer: str) -> tuple[float, int] | None:
        return None


class Referee:
    """Gives the points that are written for an answer, 3 for any other."""

    def __init__(self, **points: str) -> None:
        self.points = points
        self.seen: list[str] = []

    async def ask(self, model: str, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Judgement:
        assert model == "referee"
        prompt = messages[-1]["content"]
        self.seen.append(prompt.partition("Answer to judge:\n")[2].partition("\n")[0])
        return Judgement(f'{{"result": {self.points.get(self.seen[-1], "3")}}}', None, 1)

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        raise JudgeFailed("none here")


def asked(suite: Suite, referee: Referee, answers: AnswerStore | None = None) -> EvaluationReport:
    return asyncio.run(run_suite(suite, [Subject()], RunOptions(), Silent(), referee, answers))


def written(folder: Path, text: str = SUITE) -> Suite:
    path = folder / "letters.yaml"
    path.write_text(text)
    return load_suite(path)


def test_the_coefficients_by_hand() -> None:
    # people 1 1 2 2, judge 1 2 2 2: 3 of 4 equal, chance (2*1 + 2*3) / 16 = 0.5, kappa (0.75 - 0.5) / 0.5 = 0.5
    found = agreement("tone", "referee", [1, 1, 2, 2], [1, 2, 2, 2])
    assert (found.n, found.equal, found.kappa) == (4, 0.75, pytest.approx(0.5))
    # alpha: 8 values, three 1s and five 2s; one unit differs, two of its pairs: 1 - 7 * 2 / (2 * 3 * 5)
    assert found.alpha == pytest.approx(1 - 7 * 2 / 30)
    assert found.unscored == 0


def test_points_that_the_judge_did_not_give_are_unscored_and_a_near_miss_counts_less() -> None:
    near = agreement("tone", "referee", [1, 3, 5, 2], [2, 3, 5, None])
    wide = agreement("tone", "referee", [1, 3, 5, 2], [5, 3, 5, None])
    assert (near.n, near.unscored, near.equal) == (3, 1, pytest.approx(2 / 3))
    assert near.equal == wide.equal
    assert near.alpha is not None
    assert wide.alpha is not None
    assert near.alpha > wide.alpha
    nothing = agreement("tone", "referee", [1.0], [None])
    assert (nothing.n, nothing.unscored, nothing.kappa, nothing.alpha) == (0, 1, None, None)


def test_a_suite_s_judge_is_compared_with_people_in_every_report(tmp_path: Path) -> None:
    suite = written(tmp_path)
    referee = Referee(polite="5", rude="2", dull="3", no="none")
    report = asked(suite, referee, AnswerStore(tmp_path / "answers"))
    (found,) = report.agreements
    assert (found.metric, found.judge, found.n, found.unscored) == ("tone", "referee", 3, 1)
    assert found.equal == pytest.approx(2 / 3)
    score = report.contestants[0].scores["tone"]
    assert (score.value, score.n) == (3.0, 2)  # people's answers are nobody's score
    again = Referee(no="none")
    assert asked(suite, again, AnswerStore(tmp_path / "answers")).agreements == report.agreements
    assert again.seen == ["no"]  # what could not be read is asked again, the rest is kept
    files = write_reports({"letters": report}, tmp_path, tuple(FORMATS))
    assert found.kappa is not None
    cells = ["referee", "Tone", "3", "66.7%", f"{found.kappa:.2f} ± {found.standard_error:.2f}"]
    markdown = files["md"].read_text().replace("\\", "")
    (line,) = [line for line in markdown.splitlines() if line.startswith("| referee | Tone")]
    assert [cell.strip() for cell in line.split("|")][1:6] == cells
    page = files["html"].read_text()
    assert "Does the judge agree with people?" in page
    assert f'<td class="n">{cells[-1]}</td>' in page
    (plain,) = json.loads(files["json"].read_text())
    assert plain["judge_agreement"][0]["alpha"] == found.alpha


def test_without_people_s_points_there_is_nothing_to_compare(tmp_path: Path) -> None:
    text = "\n".join(line for line in SUITE.splitlines() if "human" not in line)
    report = asked(written(tmp_path, text), Referee())
    assert report.agreements == ()
    assert "agree with people" not in write_reports({"letters": report}, tmp_path, ("html",))["html"].read_text()


def test_people_s_points_do_not_change_an_item_s_id(tmp_path: Path) -> None:
    text = "\n".join(line for line in SUITE.splitlines() if "human" not in line)
    assert [item.id for item in written(tmp_path, text).items] == [item.id for item in written(tmp_path).items]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("grade: 4", "grade: 9"), "tone gives points from 1 to 5, and a person gave 9 to an answer of item"),
        ((JUDGE, "exact_match"), "no metric `judge`"),
        (("grade: 4", "points: 4"), "evals.0.human.0.points"),
        (("grade: 5", "grade: good"), "items.0.human.0.grade"),
    ],
)
def test_points_that_nothing_could_read_are_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        written(tmp_path, SUITE.replace(*change))
    assert said in str(caught.value)
