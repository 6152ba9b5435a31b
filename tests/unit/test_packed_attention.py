"""The attention of a packed row against softmax(q k^T) v of each sequence alone, written out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from tunesmith.engine.backends._attention import KVPool, PackedStep, Segment, packed_attention

HEADS, GROUPS, WIDTH = 2, 3, 8
SCALE = WIDTH**-0.5


def alone(query: Tensor, keys: Tensor, values: Tensor, window: int, softcap: float | None) -> Tensor:
    """query [H, n, D] are the last n of keys' L positions [K, L, D] -> [n, H, D]."""
    length, context = query.shape[1], keys.shape[1]
    scores = query @ keys.repeat_interleave(GROUPS, 0).transpose(1, 2) * SCALE
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    position = torch.arange(context - length, context)[:, None]
    key = torch.arange(context)[None, :]
    scores = scores.masked_fill((key > position) | (key <= position - window), float("-inf"))
    return (scores.softmax(-1) @ values.repeat_interleave(GROUPS, 0)).transpose(0, 1)


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("window", [None, 6, 40])
@pytest.mark.parametrize(
    "lengths",
    [
        [(1, 9), (1, 30), (1, 1)],  # single tokens of sequences of different length: attended for together
        [(1, 300), (1, 12), (1, 290), (1, 13)],  # two are too long for that
        [(5, 9), (1, 17), (4, 4), (1, 8)],  # prompts between them
        [(1, 20)],
    ],
)
def test_packed_attention_is_that_of_each_sequence_alone(
    lengths: list[tuple[int, int]], window: int | None, softcap: float | None
) -> None:
    torch.manual_seed(0)
    capacity = sum(context for _, context in lengths) + 3
    pool, segments, expected, first, start = KVPool(capacity), [], [], 0, 3
    draw = {"dtype": torch.float64}
    pool.write(0, torch.arange(0), torch.empty(HEADS, 0, WIDTH, **draw), torch.empty(HEADS, 0, WIDTH, **draw))
    # What no sequence wrote may be anything, and must not reach an answer.
    pool.view(0, 0, capacity)[0].fill_(float("nan"))
    pool.view(0, 0, capacity)[1].fill_(float("nan"))
    queries, new_keys, new_values = [], [], []
    for length, context in lengths:
        keys, values = torch.randn(2, HEADS, context, WIDTH, **draw)
        query = torch.randn(HEADS * GROUPS, length, WIDTH, **draw)
        before = context - length
        pool.write(0, torch.arange(start, start + before), keys[:, :before], values[:, :before])
        segments.append(Segment(first, first + length, start, context))
        expected.append(alone(query, keys, values, window or capacity, softcap))
        queries.append(query)
        new_keys.append(keys[:, before:])
        new_values.append(values[:, before:])
        first, start = first + length, start + context
    step = PackedStep(pool, segments, torch.device("cpu"))
    output, _ = packed_attention(
        SimpleNamespace(layer_idx=0),
        torch.cat(queries, 1)[None],
        torch.cat(new_keys, 1)[None],
        torch.cat(new_values, 1)[None],
        None,
        packed_step=step,
        scaling=SCALE,
        sliding_window=window,
        softcap=softcap,
    )
    exact = 1e-12 if softcap is None else 1e-6  # capped scores go through a float32 softmax
    torch.testing.assert_close(output[0], torch.cat(expected), rtol=exact, atol=exact)
