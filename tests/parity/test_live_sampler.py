"""Sampling while training: the live weights, each prompt once, the trainer's log-probabilities, the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.engine.backends._live import LiveSampler
from tunesmith.models.methods.lora import Lora
from tunesmith.models.weights import load_base
from tunesmith.train import attention
from tunesmith.train.forward import attention_for, score
from tunesmith.train.objective import Needs
from tunesmith.train.rollouts import Completion, completed_row

PROMPTS = [(5, 6, 7), (5, 9), tuple(range(30, 50))]
SEEDS = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
STOP = frozenset({2})


@pytest.fixture
def model(tiny: Path) -> Any:
    attention.register()
    return Lora(rank=4, dropout=0.2).wrap(load_base(tiny, "float32", attention=attention_for("tree")), seed=1).train()


def shift(model: Any) -> None:
    """Move the trained weights, as a step would."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


def sample(model: Any, *, kv_tokens: int = 16384, seeds: Any = SEEDS, max_tokens: int = 12) -> list[list[Completion]]:
    model.eval()
    drawn = LiveSampler(STOP, kv_tokens).sample(model, PROMPTS, seeds, Needs(completions=3, max_tokens=max_tokens))
    model.train()
    return [[Completion(*each) for each in own] for own in drawn]


def test_it_samples_from_the_weights_as_they_are_now(model: Any) -> None:
    """Log-probabilities when sampled are the trainer's own, before and after the weights moved."""
    for _ in range(2):
        found = sample(model)
        rows = [completed_row(PROMPTS[p], each) for p, own in enumerate(found) for each in own]
        model.eval()
        with torch.no_grad():
            said = score(model, rows, "tree")
        model.train()
        sampled = torch.tensor([value for own in found for each in own for value in each.logprobs])
        torch.testing.assert_close(said.logprobs[said.token], sampled, atol=2e-5, rtol=2e-5)
        shift(model)


def test_the_same_seeds_give_the_same_tokens_and_others_others(model: Any) -> None:
    shift(model)
    first = sample(model)
    assert first == sample(model)
    other = sample(model, seeds=[[11, 12, 13]] * 3)
    assert [each.token_ids for own in first for each in own] != [each.token_ids for own in other for each in own]
    assert len({each.token_ids for own in first for each in own}) == 9


def test_little_room_gives_the_same_answers_in_several_waves(model: Any) -> None:
    whole, pieces = sample(model), sample(model, kv_tokens=40)
    for own, other in zip(whole, pieces, strict=True):
        assert [each.token_ids for each in own] == [each.token_ids for each in other]


def test_a_negative_seed_is_greedy(model: Any) -> None:
    found = sample(model, seeds=[[-1]] * 3, max_tokens=4)
    base = model.get_base_model()
    base.set_attn_implementation("sdpa")
    model.eval()
    for prompt, (completion,) in zip(PROMPTS, found, strict=True):
        ids = list(prompt)
        for token in completion.token_ids:
            assert int(base(torch.tensor([ids])).logits[0, -1].argmax()) == token
            ids.append(token)


def test_a_completion_ends_with_a_stop_token_or_is_cut_off(model: Any) -> None:
    everything = frozenset(range(259))
    (first, *_), *_ = LiveSampler(everything).sample(model.eval(), PROMPTS, SEEDS, Needs(completions=3, max_tokens=5))
    assert (len(first.token_ids), first.ended) == (1, True)
    (first, *_), *_ = LiveSampler(frozenset()).sample(model, PROMPTS, SEEDS, Needs(completions=3, max_tokens=5))
    assert (len(first.token_ids), first.ended) == (5, False)


def test_the_model_in_training_is_left_as_it_was(model: Any) -> None:
    before = {name: (id(parameter), parameter.requires_grad) for name, parameter in model.named_parameters()}
    implementation = model.config._attn_implementation
    sample(model)
    assert {name: (id(parameter), parameter.requires_grad) for name, parameter in model.named_parameters()} == before
    assert model.config._attn_implementation == implementation
    row = completed_row(PROMPTS[0], Completion((8, 9), (0.0, 0.0), True))
    score(model, [row], "tree").logprobs.sum().backward()
    assert any(parameter.grad is not None for parameter in model.parameters())
