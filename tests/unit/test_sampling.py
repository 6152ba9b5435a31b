"""Sampling against hand-worked distributions."""

from __future__ import annotations

import math

import pytest
import torch

from tunesmith.engine.backends._sampling import _nucleus, choose, generator_for, logprobs_of, top_logprobs
from tunesmith.engine.engine import Sampling
from tunesmith.errors import EngineError

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


def nucleus_by_hand(probabilities: list[float], top_p: float) -> set[int]:
    kept, reached = set(), 0.0
    for token in sorted(range(len(probabilities)), key=lambda each: -probabilities[each]):
        if reached >= top_p and kept:
            break
        kept.add(token)
        reached += probabilities[token]
    return kept


@pytest.mark.parametrize("flatness", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("top_p", [0.001, 0.5, 0.9, 0.999])
def test_the_nucleus_of_a_large_vocabulary_is_the_one_found_by_sorting_all(flatness: float, top_p: float) -> None:
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(1)) * flatness
    kept, ids = _nucleus(torch.softmax(logits, -1), top_p)
    probabilities = torch.softmax(logits, -1)
    assert set(ids.tolist()) == nucleus_by_hand(probabilities.double().tolist(), top_p)
    torch.testing.assert_close(kept, probabilities[ids])
    assert bool((kept.diff() <= 0).all())


def test_equal_tokens_are_kept_by_id_also_at_the_border_of_what_is_looked_at_first() -> None:
    # 2000 tokens as likely as each other: the nucleus of a quarter is the first 500; of 400 before them, none is lost.
    uniform = torch.full((2000,), 1 / 2000)
    assert sorted(_nucleus(uniform, 0.25)[1].tolist()) == list(range(500))
    steep = torch.cat([torch.full((600,), 1e-9), torch.full((400,), 0.002), torch.full((1000,), 0.0002)])
    assert sorted(_nucleus(steep, 0.85)[1].tolist()) == list(range(600, 1250))


def test_a_large_vocabulary_is_drawn_from_as_it_is_likely() -> None:
    # Ten tokens of probability 0.05 each, far apart, and 40,000 others with the rest.
    logits = torch.full((40_010,), math.log(0.5 / 40_000))
    logits[::4001] = math.log(0.05)
    generator = generator_for(Sampling(seed=2))
    found = [choose(logits, Sampling(temperature=1.0), generator) for _ in range(4000)]
    shares = [found.count(token) / len(found) for token in range(0, 40_010, 4001)]
    assert len(shares) == 10
    assert all(abs(share - 0.05) < 0.015 for share in shares)
    rest = [token for token in found if token % 4001]
    assert abs(sum(rest) / len(rest) / 40_010 - 0.5) < 0.03


def test_an_excluded_token_is_never_drawn() -> None:
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf])
    for top_p in (1.0, 0.9):
        generator = generator_for(Sampling(seed=5))
        assert {choose(logits, Sampling(temperature=2.0, top_p=top_p), generator) for _ in range(300)} == {1, 3}


@pytest.mark.parametrize("broken", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
@pytest.mark.parametrize("top_p", [1.0, 0.5])
def test_logits_that_are_no_distribution_are_an_error(broken: list[float], top_p: float) -> None:
    with pytest.raises(EngineError, match="no distribution"):
        choose(torch.tensor(broken), Sampling(temperature=1.0, top_p=top_p), generator_for(Sampling()))
