"""Chunked log-probabilities against torch's log_softmax, values and both gradients."""

from __future__ import annotations

import pytest
import torch

from tunesmith.train import logprobs
from tunesmith.train.logprobs import logprobs_and_hits, token_logprobs


@pytest.mark.parametrize("train_head", [False, True])
def test_equals_log_softmax_in_value_and_gradient(monkeypatch: pytest.MonkeyPatch, train_head: bool) -> None:
    monkeypatch.setattr(logprobs, "CHUNK_BYTES", 4 * 11 * 3)  # three rows a chunk, so several chunks
    torch.manual_seed(0)
    hidden = torch.randn(8, 5, dtype=torch.float32, requires_grad=True)
    weight = torch.randn(11, 5, requires_grad=train_head)
    targets = torch.randint(0, 11, (8,))
    upstream = torch.randn(8)
    ours = token_logprobs(hidden, weight, targets)
    inputs = [hidden, weight] if train_head else [hidden]
    ours_gradients = torch.autograd.grad((ours * upstream).sum(), inputs)
    plain = torch.log_softmax(hidden @ weight.t(), dim=1).gather(1, targets[:, None]).squeeze(1)
    plain_gradients = torch.autograd.grad((plain * upstream).sum(), inputs)
    torch.testing.assert_close(ours, plain)
    for got, expected in zip(ours_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(got, expected)


def test_by_hand_two_tokens() -> None:
    """One state h = 1, embeddings (0, ln 3): p = (1/4, 3/4), so log p(1) = ln 0.75 and d/dh = ln3 - 0.75 ln3."""
    ln3 = float(torch.log(torch.tensor(3.0)))
    hidden = torch.tensor([[1.0]], requires_grad=True)
    result = token_logprobs(hidden, torch.tensor([[0.0], [ln3]]), torch.tensor([1]))
    result.sum().backward()
    assert result.item() == pytest.approx(-0.2876821)
    assert hidden.grad is not None
    assert hidden.grad.item() == pytest.approx(0.25 * ln3)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_token_hits_when_it_is_the_likeliest(monkeypatch: pytest.MonkeyPatch, smoothing: float) -> None:
    monkeypatch.setattr(logprobs, "CHUNK_BYTES", 4 * 11 * 3)
    torch.manual_seed(1)
    hidden, weight = torch.randn(40, 5, requires_grad=True), torch.randn(11, 5)
    likeliest = (hidden @ weight.t()).argmax(dim=1)
    targets = torch.where(torch.rand(40) < 0.5, likeliest, torch.randint(0, 11, (40,)))
    said, hits = logprobs_and_hits(hidden, weight, targets, smoothing)
    assert hits.tolist() == (targets == likeliest).tolist()
    assert 10 < int(hits.sum()) < 40
    assert said.requires_grad
    assert not hits.requires_grad


def test_without_gradient_nothing_is_kept() -> None:
    with torch.no_grad():
        assert not token_logprobs(torch.ones(1, 2), torch.eye(2), torch.tensor([0])).requires_grad
