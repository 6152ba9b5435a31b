"""The prefix tree against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tunesmith.train.tree import PrefixTree, fold, segments
from tunesmith.types.conversation import Rendered


def ancestor_mask(tree: PrefixTree) -> NDArray[np.bool_]:
    """[N, N] true where column j is an ancestor-or-self of row i: the definition attention must equal."""
    nodes = np.arange(tree.size)
    return (nodes[None, :] <= nodes[:, None]) & (nodes[:, None] < tree.end[None, :])


def row(ids: list[int], trained: int = 1) -> Rendered:
    weights = [0.0] * (len(ids) - trained) + [1.0] * trained
    return Rendered(token_ids=tuple(ids), loss_weights=tuple(weights), spans=())


def test_the_drawn_example() -> None:
    tree = fold([row([9, 1, 2]), row([9, 1, 3, 4]), row([9, 5])])
    assert tree.token_ids.tolist() == [9, 1, 2, 3, 4, 5]
    assert tree.positions.tolist() == [0, 1, 2, 2, 3, 1]
    assert tree.parent.tolist() == [-1, 0, 1, 1, 3, 0]
    assert tree.end.tolist() == [6, 5, 3, 5, 5, 6]
    assert tree.leaf.tolist() == [2, 4, 5]
    assert tree.weight.tolist() == [0, 0, 1, 0, 1, 1]
    assert [(s.start, s.end, s.path.tolist()) for s in segments(tree)] == [
        (0, 1, []),
        (1, 2, [0]),
        (2, 3, [0, 1]),
        (3, 5, [0, 1]),
        (5, 6, [0]),
    ]


def test_equal_rows_add_their_weights_and_keep_the_given_order_of_leaves() -> None:
    tree = fold([row([1, 2, 3], 2), row([1, 2], 1), row([1, 2, 3], 1)])
    assert tree.token_ids.tolist() == [1, 2, 3]
    assert tree.weight.tolist() == [0, 2, 2]
    assert tree.leaf.tolist() == [2, 1, 2]


rows = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=8)


@settings(deadline=None, max_examples=200)
@given(rows)
def test_any_tree_holds_every_sequence_once_and_masks_by_ancestry(lists: list[list[int]]) -> None:
    rendered = [row(ids) for ids in lists]
    tree = fold(rendered)
    prefixes = {tuple(ids[: n + 1]) for ids in lists for n in range(len(ids))}
    assert tree.size == len(prefixes)
    mask = ancestor_mask(tree)
    for ids, leaf in zip(lists, tree.leaf, strict=True):
        path = np.flatnonzero(mask[leaf])
        assert tree.token_ids[path].tolist() == ids
        assert tree.positions[path].tolist() == list(range(len(ids)))
    assert tree.weight.sum() == len(lists)
    covered = [node for s in segments(tree) for node in range(s.start, s.end)]
    assert covered == list(range(tree.size))
    for s in segments(tree):
        assert np.flatnonzero(mask[s.start]).tolist() == [*s.path.tolist(), s.start]
