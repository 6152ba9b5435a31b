"""A reward model trained on preferences is the grader that a policy then learns from."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.invariant import policy_runs
from tests.invariant.test_preference_runs import run
from tunesmith.grade.grader import Answered, Sample, load_grader
from tunesmith.models.reward import RewardModel
from tunesmith.types.conversation import Conversation, Message

PROMPT = [{"role": "user", "content": "ab 1"}]


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> dict[str, str]:
    record = run(tmp_path_factory.mktemp("reward"), tiny, {"name": "reward"})
    return {"name": "reward_model", "base": str(tiny), "adapter": f"{record.path}/adapter"}


def test_it_gives_the_reward_model_s_own_scores(reward: dict[str, str]) -> None:
    answers = [Answered(Sample(output_text=text), {"messages": PROMPT}) for text in ("red is it", "blue 1")]
    grades = asyncio.run(load_grader(reward).grade(answers))
    messages = Message.model_validate(PROMPT[0]), Message(role="assistant", content="red is it")
    model = RewardModel(Path(reward["base"]), Path(reward["adapter"]))
    assert grades[0].score == pytest.approx(model.score([Conversation(messages=messages)])[0])
    assert grades[0].score > grades[1].score  # type: ignore[operator]


def test_a_row_without_its_prompt_is_unscored(reward: dict[str, str]) -> None:
    (grade,) = asyncio.run(load_grader(reward).grade([Answered(Sample(output_text="a"), {})]))
    assert (grade.score, grade.error) == (None, "invalid_variable_error")
    assert "`messages`" in grade.detail


@pytest.mark.slow
def test_a_policy_learns_from_it(reward: dict[str, str], tiny: Path, tmp_path: Path) -> None:
    """The mean over samples rises; the one greedy answer that validation would look at may already be a good one."""
    method = {"name": "lora", "rank": 8}
    record = policy_runs.run(tmp_path, tiny, validation=0.0, epochs=24, grader=reward, method=method)
    lines = [json.loads(line) for line in (Path(record.path) / "metrics.jsonl").read_text().splitlines()]
    rewards = [line["reward"] for line in lines if "reward" in line]
    assert sum(rewards[-6:]) / 6 > sum(rewards[:6]) / 6 + 0.1
