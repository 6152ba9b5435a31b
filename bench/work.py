"""Arithmetic that a step's mathematics needs, and the machine's peak in matrix products.

Per computed token a weight of a matrix costs 2 operations forward, 2 for the gradient of its input, and 2 more for its
own gradient where it is trained (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). The last layer's feed-forward
block counts at the nodes that predict something, for no other needs it, and so does the output head. Each visible pair
of a query and a key costs 4 D operations per head of size D forward (scores and values) and twice that backward.
What is computed twice to save memory counts once (Chowdhery et al. 2022, arXiv:2204.02311,
appendix B), element-wise work not at all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from bench.clock import Reading
from tunesmith.train.objective import Group, rows_of
from tunesmith.train.plan import split_evenly
from tunesmith.train.tree import PrefixTree, fold

__all__ = ["Peak", "Shape", "Work", "main", "matrix_peak", "shape_of", "step_work"]

SIZE, ROUNDS = 2048, 15


class Shape(NamedTuple):
    """What a model's arithmetic depends on."""

    matrices: tuple[tuple[int, int], ...]
    """(out, in) of every linear layer of the decoder, without the head and `last`"""
    last: tuple[tuple[int, int], ...]
    """(out, in) of the linear layers of the last layer's feed-forward block"""
    head: int
    """numbers in the output head"""
    pair: int
    """operations forward per visible pair of tokens, over all heads and layers"""


class Work(NamedTuple):
    """What one step computes."""

    tokens: int
    operations: float


class Peak(NamedTuple):
    """Operations per second of wall time and of processor time."""

    per_second: float
    per_processor_second: float


def shape_of(base: Path) -> Shape:
    """The shape of the model in `base`, whose weights are not loaded."""
    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}
    last = {name for name in linear if f"layers.{config.num_hidden_layers - 1}.mlp." in name}
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    pair = 4 * size * config.num_attention_heads * config.num_hidden_layers
    below, final = (
        tuple((m.out_features, m.in_features) for n, m in linear.items() if (n in last) == is_last)
        for is_last in (False, True)
    )
    return Shape(below, final, head.weight.numel(), pair)


def step_work(shape: Shape, groups: Sequence[Group], accumulate: int, rank: int | None) -> Work:
    """One optimizer step over prefix trees, one for each of `accumulate` pieces; without `rank` all weights train."""
    trees = [fold(rows_of(piece)) for piece in split_evenly(groups, accumulate)]
    return Work(sum(tree.size for tree in trees), sum(_operations(shape, tree, rank) for tree in trees))


def _operations(shape: Shape, tree: PrefixTree, rank: int | None) -> float:
    chosen = (tree.weight > 0) & (tree.parent >= 0)
    pairs = float((tree.positions + 1).sum())
    per_weight = 6 if rank is None else 4

    def per_token(matrices: tuple[tuple[int, int], ...]) -> int:
        return sum(per_weight * out * width + 6 * (rank or 0) * (out + width) for out, width in matrices)

    below, last = tree.size * per_token(shape.matrices), len(set(tree.parent[chosen].tolist())) * per_token(shape.last)
    return float(below + last + int(chosen.sum()) * per_weight * shape.head + 3 * shape.pair * pairs)


def matrix_peak(precision: str) -> Peak:
    """The best of a few products of square matrices."""
    a, b = (torch.randn(SIZE, SIZE).to(getattr(torch, precision)) for _ in range(2))
    operations, found = 2.0 * SIZE**3, []
    whole = Reading.now()
    for _ in range(ROUNDS):
        began = Reading.now()
        a @ b
        found.append(Reading.now().since(began).seconds)
    return Peak(operations / min(found), operations * ROUNDS / Reading.now().since(whole).processor_seconds)


def main() -> None:
    """Print the machine's peak as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="float32")
    print(json.dumps(matrix_peak(parser.parse_args().precision)._asdict()))


if __name__ == "__main__":
    main()
