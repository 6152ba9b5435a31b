"""grpo and rloo by hand on log-probabilities that are given, and against the formulas' gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tunesmith.train.objective import Group, Scored
from tunesmith.train.objectives.grpo import Grpo
from tunesmith.train.objectives.rloo import Rloo
from tunesmith.train.policy import k3
from tunesmith.train.rollouts import Completion, completed_row, rollout_metrics

PROMPT = (5, 6)


def group(lengths: tuple[int, ...], sampled: list[float], **fields: Any) -> Group:
    """Completions of these many tokens, with their log-probabilities when they were sampled."""
    rows = tuple(completed_row(PROMPT, Completion(tuple(range(9, 9 + n)), (0.0,) * n, True)) for n in lengths)
    return Group(rows=rows, sampled=tuple(sampled), **fields)


def scored(lengths: tuple[int, ...], logprobs: list[float]) -> Scored:
    """What the model says of completions that share no token."""
    values = torch.tensor(logprobs, requires_grad=True)
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    ones = torch.ones(len(values))
    return Scored(values, ones, 0, torch.arange(len(values)), sequence, ones, len(lengths))


@pytest.mark.parametrize(("loss_type", "expected"), [("grpo", 0.0), ("bnpo", 1 / 3), ("dr_grpo", 1 / 8)])
def test_grpo_on_policy_by_hand(loss_type: str, expected: float) -> None:
    """Completions of 1 and 2 tokens with advantages 1 and -1: each token's loss is -1, 1, 1."""
    objective = Grpo.model_validate({"loss_type": loss_type, "max_tokens": 4, "scale_rewards": "none"})
    groups = objective.complete([group((1, 2), [-1.0, -2.0, -3.0], rewards=(2.0, 0.0))], lambda rows: torch.zeros(0))
    assert groups[0].advantages == (1.0, -1.0)
    said = scored((1, 2), [-1.0, -2.0, -3.0])
    loss = objective.loss(said, groups, objective.amount(groups))
    assert loss.item() == pytest.approx(expected)


def test_grpo_clips_what_has_moved_far() -> None:
    """Ratios e^0.5 and e^-0.5 with A = 1: min(1.6487, 1.2) and min(0.6065, 0.8); with A = -1 the other way round."""
    objective = Grpo(epsilon=0.2)
    old, new = [-1.0, -1.0], [-0.5, -1.5]
    for advantage, values in ((1.0, (1.2, math.exp(-0.5))), (-1.0, (-math.exp(0.5), -0.8))):
        groups = [group((1, 1), old, advantages=(advantage, advantage))]
        said = scored((1, 1), new)
        loss = objective.loss(said, groups, 2.0)
        assert loss.item() == pytest.approx(-sum(values) / 2)
        loss.backward()
        moved = [value != 0.0 for value in said.logprobs.grad.tolist()]
        assert moved == ([False, True] if advantage > 0 else [True, False])  # a clipped token has no gradient
    wide = Grpo(epsilon=0.2, epsilon_high=0.7)
    loss = wide.loss(scored((1, 1), new), [group((1, 1), old, advantages=(1.0, 1.0))], 2.0)
    assert loss.item() == pytest.approx(-(math.exp(0.5) + math.exp(-0.5)) / 2)


def test_grpo_stays_near_the_start_policy() -> None:
    """k3 at p = -1, q = -2: e^-1 + 1 - 1 = 0.36788; zero where the policies agree."""
    assert k3(torch.tensor([-1.0, -3.0]), torch.tensor([-2.0, -3.0])).tolist() == pytest.approx([math.exp(-1), 0.0])
    groups = [group((1,), [-1.0], advantages=(0.0,), start=(-2.0,))]
    loss = Grpo(beta=0.5).loss(scored((1,), [-1.0]), groups, 1.0)
    assert loss.item() == pytest.approx(0.5 * math.exp(-1))
    assert Grpo(beta=0.5).metrics(scored((1,), [-1.5]), groups) == pytest.approx(
        {"sampling_gap": 0.5, "kl": math.exp(-0.5) + 0.5 - 1}
    )


def test_a_token_that_two_completions_share_counts_in_both() -> None:
    """In a tree both completions begin with token 0 of the batch; advantages 1 and -1 cancel there."""
    logprobs = torch.tensor([-1.0, -2.0, -3.0], requires_grad=True)
    said = Scored(
        logprobs,
        torch.tensor([2.0, 1.0, 1.0]),
        0,
        torch.tensor([0, 1, 0, 2]),
        torch.tensor([0, 0, 1, 1]),
        torch.ones(4),
        2,
    )
    groups = [group((2, 2), [-1.0, -2.0, -1.0, -3.0], advantages=(1.0, -1.0))]
    Grpo().loss(said, groups, 2.0).backward()
    assert logprobs.grad.tolist() == pytest.approx([0.0, -0.25, 0.25])


def test_rloo_by_hand() -> None:
    """Rewards (1, 0): A = (1, -1). On policy the loss is 0 and its gradient (-1, -1, 1) / 2 by token."""
    objective = Rloo()
    groups = objective.complete([group((2, 1), [-1.0, -2.0, -3.0], rewards=(1.0, 0.0))], lambda rows: torch.zeros(0))
    assert groups[0].advantages == (1.0, -1.0)
    said = scored((2, 1), [-1.0, -2.0, -3.0])
    loss = objective.loss(said, groups, objective.amount(groups))
    loss.backward()
    assert loss.item() == pytest.approx(0.0)
    assert said.logprobs.grad.tolist() == pytest.approx([-0.5, -0.5, 0.5])


def test_rloo_clips_whole_completions() -> None:
    """Log-ratios 0.1 + 0.2 = 0.3 and -0.3: min(e^0.3, 1.2) = 1.2 with A = 1; max(e^-0.3, 0.8) = 0.8 with A = -1."""
    groups = [group((2, 1), [-1.0, -2.0, -3.0], advantages=(1.0, -1.0))]
    loss = Rloo().loss(scored((2, 1), [-0.9, -1.8, -3.3]), groups, 2.0)
    assert loss.item() == pytest.approx(-(1.2 - 0.8) / 2)


def test_rloo_takes_the_drift_from_the_start_off_the_reward() -> None:
    """Sampled -3 and -3, start -4 and -3: the first reward becomes 1 - 0.5 * 1 = 0.5; A = 0.5 - 0 and back."""
    given = group((2, 1), [-1.0, -2.0, -3.0], start=(-2.0, -2.0, -3.0), rewards=(1.0, 0.0))
    assert Rloo(beta=0.5).advantages([given]) == [(0.5, -0.5)]
    two = [given._replace(rewards=(1.0, 0.0)), given._replace(rewards=(3.0, None))]
    normal = Rloo(normalize_advantages=True).advantages(two)
    deviation = 1.0  # advantages 1, -1 and 0 (no sibling): mean 0, squares 2 over 2
    assert normal[0] == pytest.approx((1 / (deviation + 1e-4), -1 / (deviation + 1e-4)))
    assert normal[1] == (0.0, 0.0)


@pytest.mark.parametrize(
    "objective", [Grpo(loss_type="grpo"), Grpo(loss_type="bnpo"), Grpo(loss_type="dr_grpo"), Rloo()]
)
def test_pieces_of_a_step_add_up_to_the_whole(objective: Any) -> None:
    groups = [
        group((1, 2), [-1.0, -2.0, -3.0], advantages=(0.3, -0.7)),
        group((3, 1), [-1.0, -0.2, -0.3, -4.0], advantages=(1.0, -2.0)),
    ]
    now = [-1.1, -2.2, -2.9, -1.2, -0.1, -0.4, -3.9]
    total = objective.amount(groups)
    whole = objective.loss(scored((1, 2, 3, 1), now), groups, total)
    first = objective.loss(scored((1, 2), now[:3]), groups[:1], total)
    second = objective.loss(scored((3, 1), now[3:]), groups[1:], total)
    assert (first + second).item() == pytest.approx(whole.item())


def test_what_is_worth_watching() -> None:
    groups = [
        group((1, 2), [0.0] * 3, rewards=(1.0, None), truncated=1),
        group((3, 2), [0.0] * 5, rewards=(0.0, 2.0)),
    ]
    assert rollout_metrics(groups) == pytest.approx(
        {
            "reward": 1.0,
            "reward_deviation": 2**0.5 / 2,
            "flat_groups": 0.5,
            "unscored": 0.25,
            "completion_tokens": 2.0,
            "cut_off": 0.25,
        }
    )
    assert rollout_metrics([Group(rows=())]) == {}
