"""Sampling against hand-worked distributions."""

from __future__ import annotations

import math

import torch

from tunesmith.engine.backends._sampling import choose, generator_for, logprobs_of, top_logprobs
from tunesmith.engine.engine import Sampling

LOGITS = torch.tensor([0.5, 0.25, 0.2, 0.05]).log()


def draws(sampling: Sampling, count: int = 4000) -> list[float]:
    generator = generator_for(sampling)
    found = [choose(LOGITS, sampling, generator) for _ in range(count)]
    return [found.count(token) / count for token in range(4)]


def test_temperature_zero_is_the_most_likely() -> None:
    assert choose(LOGITS, Sampling(), generator_for(Sampling())) == 0


def test_temperature_one_follows_the_distribution() -> None:
    for share, expected in zip(draws(Sampling(temperature=1.0, seed=0)), (0.5, 0.25, 0.2, 0.05), strict=True):
        assert abs(share - expected) < 0.03


def test_temperature_sharpens() -> None:
    # At temperature 0.5 probabilities are squared: 0.25, 0.0625, 0.04, 0.0025 over 0.355.
    assert abs(draws(Sampling(temperature=0.5, seed=0))[0] - 0.25 / 0.355) < 0.03


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    # 0.5 + 0.25 reaches 0.7, so two tokens stay, at 2/3 and 1/3.
    shares = draws(Sampling(temperature=1.0, top_p=0.7, seed=0))
    assert abs(shares[0] - 2 / 3) < 0.03
    assert shares[2:] == [0.0, 0.0]
    assert draws(Sampling(temperature=1.0, top_p=0.01, seed=0), 50) == [1.0, 0.0, 0.0, 0.0]


def test_seeds_repeat_and_no_seed_does_not() -> None:
    def run(seed: int | None) -> list[int]:
        sampling = Sampling(temperature=2.0, seed=seed)
        generator = generator_for(sampling)
        return [choose(LOGITS, sampling, generator) for _ in range(64)]

    assert run(3) == run(3) != run(4)
    assert run(None) != run(None)


def test_logprobs_are_untempered_natural_logs() -> None:
    found = logprobs_of(torch.stack([LOGITS + 3, LOGITS - 2]), [1, 3])
    assert all(abs(one - math.log(expected)) < 1e-5 for one, expected in zip(found, (0.25, 0.05), strict=True))
    top = top_logprobs(LOGITS + 3, 2)
    assert [one.token_id for one in top] == [0, 1]
    assert abs(top[0].logprob - math.log(0.5)) < 1e-5
    assert top_logprobs(LOGITS, 0) == ()
    assert len(top_logprobs(LOGITS, 20)) == 4
