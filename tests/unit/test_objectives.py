"""Every preference objective by hand, in pieces, and its promises for the first step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tunesmith import plugins
from tunesmith.train.groups import OBJECTIVES
from tunesmith.train.objective import Group, Objective, Scored
from tunesmith.types.conversation import Rendered

ROW = Rendered(token_ids=(1, 2), loss_weights=(0.0, 1.0), spans=())


def made(name: str, **options: Any) -> Objective:
    objective = plugins.load(OBJECTIVES, name).model_validate(options)
    assert isinstance(objective, Objective)
    return objective


def scored(sequences: list[list[float]]) -> Scored:
    """One list of token log-probabilities per sequence; nothing shared."""
    flat = torch.tensor([value for sequence in sequences for value in sequence], requires_grad=True)
    index = torch.tensor([number for number, sequence in enumerate(sequences) for _ in sequence])
    ones = torch.ones(len(flat))
    return Scored(flat, ones, len(flat), torch.arange(len(flat)), index, ones, len(sequences))


def pair(chosen: float = 0.0, rejected: float = 0.0, margin: float = 0.0) -> Group:
    """A pair whose references are `chosen` and `rejected`."""
    return Group(rows=(ROW, ROW), reference=(chosen, rejected), margin=margin)


# chosen -1 -3 (sum -4, before -5), rejected -7 (before -6): log-ratios +1 and -1, per token +0.5 and -1.
ANSWERS = scored([[-1.0, -3.0], [-7.0]])
BEFORE = [pair(-5.0, -6.0)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"beta": 0.5}, -math.log(1 / (1 + math.exp(-1.0)))),  # d = 2, beta d = 1
        ({"beta": 0.5, "label_smoothing": 0.1}, 0.9 * 0.313262 + 0.1 * 1.313262),  # -log s(1), -log s(-1)
        ({"beta": 0.5, "variant": "robust", "label_smoothing": 0.1}, (0.9 * 0.313262 - 0.1 * 1.313262) / 0.8),
        ({"beta": 0.25, "variant": "hinge"}, 0.5),  # 1 - 0.25 * 2
        ({"beta": 0.5, "variant": "ipo"}, 0.25),  # d' = 1.5, (1.5 - 1)^2
        ({"beta": 2.0, "variant": "length_normalised"}, math.log(1 + math.exp(-3.0))),  # 2 * 1.5
    ],
)
def test_dpo_by_hand(options: dict[str, Any], expected: float) -> None:
    loss = made("dpo", **options).loss(ANSWERS, BEFORE, 1.0)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_dpo_metrics() -> None:
    found = made("dpo", beta=0.5).metrics(ANSWERS, BEFORE)
    assert found == {"reward_accuracy": 1.0, "reward_margin": 1.0, "chosen_reward": 0.5, "rejected_reward": -0.5}


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({}, math.log(2)),
        ({"label_smoothing": 0.2}, math.log(2)),
        ({"variant": "robust", "label_smoothing": 0.2}, math.log(2)),
        ({"variant": "hinge"}, 1.0),
        ({"variant": "ipo", "beta": 0.5}, 1.0),  # (1 / (2 * 0.5))^2
        ({"variant": "length_normalised"}, math.log(2)),
    ],
)
def test_dpo_starts_at_a_known_loss_and_no_margin(options: dict[str, Any], start: float) -> None:
    objective = made("dpo", **options)
    identities = dict(objective.identities)
    assert identities == {"loss": pytest.approx(start, rel=1e-6), "reward_margin": 0.0}
    same = scored([[-1.0, -3.0], [-7.0]])
    assert objective.loss(same, [pair(-4.0, -7.0)], 1.0).item() == pytest.approx(start, rel=1e-6)


def test_label_smoothing_without_an_effect_is_refused() -> None:
    with pytest.raises(ValidationError, match="label_smoothing has no effect on the variant ipo"):
        made("dpo", variant="ipo", label_smoothing=0.1)


def test_orpo_by_hand() -> None:
    half, fifth = math.log(0.5), math.log(0.2)
    answers = scored([[half - 0.2, half + 0.2], [fifth]])
    expected = math.log(2) - 0.1 * math.log(0.8)  # odds 1 against 1/4: s(log 4) = 4/5
    assert made("orpo", beta=0.1).loss(answers, [pair()], 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_orpo_is_finite_where_the_model_is_certain() -> None:
    answers = scored([[0.0], [-30.0]])
    loss = made("orpo").loss(answers, [pair()], 1.0)
    loss.backward()
    assert math.isfinite(loss.item())
    assert bool(torch.isfinite(answers.logprobs.grad).all())


def test_simpo_by_hand() -> None:
    answers = scored([[-0.5, -1.5], [-2.0]])
    expected = math.log(1 + math.exp(-1.0))  # 2 * (-1 + 2) - 1 = 1
    assert made("simpo", beta=2.0, gamma=1.0).loss(answers, [pair()], 1.0).item() == pytest.approx(expected)


def judged(label: bool, before: float, mismatched: float) -> Group:
    return Group(rows=(ROW,), label=label, unpaired=(ROW,), reference=(before, mismatched))


def test_kto_by_hand() -> None:
    objective = made("kto", beta=1.0, undesirable_weight=2.0)
    groups = [judged(True, -5.0, -9.0), judged(False, -3.5, -8.0)]
    # the mismatched sequences went from -9 to -8.5 and from -8 to -7.5: z = 0.5
    complete = objective.complete(groups, lambda rows: torch.tensor([-8.5, -7.5]))
    answers = scored([[-3.5], [-1.0, -2.0]])  # r = 1.5 and 0.5
    expected = (1 - 1 / (1 + math.exp(-1.0))) + 2 * 0.5
    assert objective.loss(answers, complete, 2.0).item() == pytest.approx(expected / 2)
    found = objective.metrics(answers, complete)
    assert found == {"divergence": 0.5, "reward_accuracy": 0.5, "reward_margin": 0.5}


def test_the_divergence_of_kto_is_never_below_zero() -> None:
    objective = made("kto")
    (group,) = objective.complete([judged(True, 0.0, -1.0)], lambda rows: torch.tensor([-3.0]))
    assert group.baseline == 0.0


def test_reward_by_hand() -> None:
    values = scored([[-1.0], [-1.0]])._replace(values=torch.tensor([2.0, 0.5]))
    loss = made("reward", centering=0.01).loss(values, [pair(margin=0.5)], 1.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1.0)) + 0.01 * 6.25)


@pytest.mark.parametrize("name", ["dpo", "orpo", "simpo"])
def test_the_pieces_of_a_step_add_up(name: str) -> None:
    objective = made(name)
    sequences = [[-1.0, -3.0], [-7.0], [-2.0], [-0.5, -0.1], [-3.0], [-4.0]]
    groups = [pair(-5.0, -6.0), pair(-2.0, -1.0), pair(-3.5, -3.0)]
    total = objective.amount(groups)
    whole = objective.loss(scored(sequences), groups, total)
    pieces = [
        objective.loss(scored(sequences[2 * start : 2 * stop]), groups[start:stop], total)
        for start, stop in ((0, 1), (1, 3))
    ]
    assert sum(piece.item() for piece in pieces) == pytest.approx(whole.item(), rel=1e-6)


def test_every_objective_says_what_it_trains_on() -> None:
    shapes = {name: made(name).shapes for name in ("sft", "dpo", "orpo", "simpo", "kto", "reward")}
    assert shapes["sft"] == ("conversation", "text")
    assert shapes["kto"] == ("labelled", "preference")
    assert {shapes[name] for name in ("dpo", "orpo", "simpo", "reward")} == {("preference",)}
