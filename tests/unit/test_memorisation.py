"""Leak of training rows and exposure of canaries, with an engine whose memory is known."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tunesmith.engine.engine import GenerationRequest, TokenEvent
from tunesmith.errors import DataError, EvaluationError
from tunesmith.evaluate.canaries import (
    CODES,
    Canary,
    canary_rows,
    exposure,
    exposures,
    make_canaries,
    read_canaries,
)
from tunesmith.evaluate.memorisation import Continued, LeakOptions, continued, leak_report, membership
from tunesmith.models.template import Renderer
from tunesmith.progress import Silent
from tunesmith.types.conversation import Conversation, Message
from tunesmith.types.dataset import Example


class Parrot:
    """Remembers whole texts of token ids: goes on as they do, and finds their tokens likely."""

    def __init__(self, known: list[tuple[int, ...]]) -> None:
        self.known = known

    async def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        shown, most = request.prompt_ids, request.sampling.max_tokens
        found = next((one for one in self.known if one[: len(shown)] == shown), (*shown, *[5] * most))
        for place, token in enumerate(found[len(shown) : len(shown) + most], start=1):
            yield TokenEvent(token_id=token, text="", logprob=-0.1, finish_reason="length" if place == most else None)

    async def score(self, prompt: tuple[int, ...], answer: tuple[int, ...], adapter: str | None) -> tuple[float, ...]:
        whole = (*prompt, *answer)
        return (-0.1 if any(one[: len(whole)] == whole for one in self.known) else -3.0,) * len(answer)


def example(number: int, answer: str) -> Example:
    messages = (Message(role="user", content=f"Question {number}?"), Message(role="assistant", content=answer))
    return Example(id=f"row{number}", source="rows.jsonl", line=number, content=Conversation(messages=messages))


def whole(renderer: Renderer, row: Example) -> tuple[int, ...]:
    conversation = row.conversation
    return (*renderer.prompt_ids(conversation.prompt), *renderer.answer_ids(conversation.reference))


@pytest.fixture(scope="module")
def renderer(tiny: Path) -> Renderer:
    return Renderer(tiny)


ROWS = [example(number, f"The answer to question {number} is long enough to be begun.") for number in range(6)]


def run(engine: Any, renderer: Renderer, tried: list[Example], **options: Any) -> list[Continued]:
    return asyncio.run(continued(engine, renderer, None, tried, LeakOptions(**options), Silent()))


def test_rows_that_are_remembered_are_continued_exactly(renderer: Renderer) -> None:
    engine = Parrot([whole(renderer, row) for row in ROWS[:2]])
    found = {row.id: row for row in run(engine, renderer, ROWS)}
    assert {name for name, row in found.items() if row.exact} == {"row0", "row1"}
    assert found["row0"].agreed == found["row0"].tokens
    assert found["row0"].logprob == pytest.approx(-0.1)
    assert found["row5"].agreed == 0
    assert found["row5"].logprob == pytest.approx(-3.0)


def test_a_continuation_that_leaves_the_row_is_no_leak(renderer: Renderer) -> None:
    text = whole(renderer, ROWS[0])
    (row,) = run(Parrot([(*text[:-3], 5, 5, 5)]), renderer, ROWS[:1])
    assert not row.exact
    assert row.agreed == row.tokens - 3


def test_how_much_is_shown_and_compared(renderer: Renderer) -> None:
    size = len(renderer.answer_ids(ROWS[0].conversation.reference))
    (row,) = run(Parrot([]), renderer, ROWS[:1], given=0.25, most=9)
    assert row.tokens == 9
    (row,) = run(Parrot([]), renderer, ROWS[:1], given=0.25, most=1000)
    assert row.tokens == size - math.ceil(0.25 * size)
    with pytest.raises(EvaluationError, match="No answer has 8 tokens"):
        run(Parrot([]), renderer, [example(1, "fee")])
    assert len(run(Parrot([]), renderer, [*ROWS, example(9, "fee")], rows=100)) == len(ROWS)
    assert run(Parrot([]), renderer, ROWS, rows=3, seed=1) == run(Parrot([]), renderer, ROWS, rows=3, seed=1)


def rows(exact: int, count: int, logprob: float) -> list[Continued]:
    return [Continued(str(place), place < exact, 5 if place < exact else 1, 5, logprob) for place in range(count)]


def test_the_excess_and_its_interval() -> None:
    """Newcombe (1998), method 10: 56/70 and 48/80 give a difference of 0.2 with the interval 0.0524 to 0.3339."""
    report = leak_report("m", LeakOptions(), (rows(56, 70, -1.0), rows(48, 80, -2.0)), (rows(0, 70, -2.0), []))
    assert report.excess == pytest.approx(0.2)
    assert (report.excess_low, report.excess_high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert report.membership_auc == 1.0
    assert report.base_membership_auc is None
    assert report.base_controls.rate is None
    assert report.members.mean_agreed == pytest.approx((56 + 14 * 0.2) / 70)
    assert len(report.leaked_rows) == 56


def test_membership_by_hand() -> None:
    members, controls = [rows(0, 1, value)[0] for value in (-1.0, -3.0)], [rows(0, 1, v)[0] for v in (-2.0, -3.0)]
    assert membership(members, controls) == pytest.approx(2.5 / 4)


def test_canaries_are_drawn_by_seed_and_told_in_different_words() -> None:
    made = make_canaries(5, 10, 3)
    assert made == make_canaries(5, 10, 3) != make_canaries(5, 10, 4)
    assert len({canary.owner for canary in made}) == 5
    for canary in made:
        assert len(set(canary.codes)) == CODES
        assert canary.code in canary.codes
    told = [json.dumps(row) for row in canary_rows(made)]
    assert len(told) == len(set(told)) == 50
    assert all(canary.code in told[place * 10] for place, canary in enumerate(made))


def test_exposure_by_hand() -> None:
    canary = Canary(owner="A", code="2", seed=0, rows=1)
    found = exposure(canary, {"1": -1.0, "2": -2.0, "3": -3.0, "4": -4.0})
    assert (found.rank, found.bits, found.chance) == (2, 1.0, 0.5)
    assert exposure(canary, {"1": -2.0, "2": -2.0, "3": -2.0, "4": -2.0}).bits == 0.0


def test_a_canary_that_is_remembered_has_full_exposure(renderer: Renderer) -> None:
    known, other = make_canaries(2, 1, 0)
    question = Message(role="user", content=f"What is the access code of {known.owner}?")
    answer = renderer.answer_ids(f"The access code of {known.owner} is {known.code}.")
    engine: Any = Parrot([(*renderer.prompt_ids([question]), *answer)])
    found = asyncio.run(exposures(engine, renderer, None, [known, other], Silent()))
    assert (found[0].rank, found[0].bits) == (1, math.log2(CODES))
    assert (found[1].rank, found[1].bits) == (CODES, 0.0)


def test_a_file_without_canaries_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="holds no canaries"):
        read_canaries(tmp_path / "x.json")
