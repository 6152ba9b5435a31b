"""A batch as a prefix tree: every token shared by several sequences is computed once.

Sequences are folded into a trie over token ids and laid out in depth-first order. Node j is visible to node i if and
only if j is an ancestor-or-self of i, that is `j <= i < end[j]`; the logit that predicts node k is read at `parent[k]`.
Gradients are exactly those of the plain computation, because each node's loss weight is the sum of the weights of
the sequences that pass through it.

    sequences   [s a b] [s a c d] [s e]        tree   s - a - b
                                                       |   +-- c - d
                                                       +-- e
    token_ids   s a b c d e      positions  0 1 2 2 3 1
    parent     -1 0 1 1 3 0      end        6 5 3 5 5 6
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.types.conversation import Rendered

__all__ = ["Ints", "PrefixTree", "Segment", "fold", "segments"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class PrefixTree(NamedTuple):
    """A trie in depth-first order. N nodes, S sequences."""

    token_ids: Ints
    """[N] token of each node"""
    positions: Ints
    """[N] depth of each node: its position in the plain sequence"""
    parent: Ints
    """[N] index of the previous token on the path; -1 at a root"""
    end: Ints
    """[N] one past the last descendant"""
    weight: Floats
    """[N] sum over sequences of the loss weight of predicting this node"""
    leaf: Ints
    """[S] node at which each sequence ends, in the order the sequences were given"""
    origin: Ints
    """[N] a sequence that passes through the node; each sequence's own nodes stand in one run"""
    paths: tuple[Ints, ...]
    """[S] the nodes of each sequence from its first token to its last, in the order the sequences were given"""

    @property
    def size(self) -> int:
        """Number of nodes N."""
        return len(self.token_ids)


class Segment(NamedTuple):
    """A run [start, end) of nodes without branches; `path` are all its ancestors from the root, in order."""

    start: int
    end: int
    path: Ints


def fold(rows: Sequence[Rendered]) -> PrefixTree:
    """Fold rendered sequences into one tree.

    Rows are visited in the order of their token ids, so the longest common prefix with the row before is
    exactly the part that already stands in the trie, and nodes come out in depth-first order.
    """
    order = sorted(range(len(rows)), key=lambda index: rows[index].token_ids)
    tokens: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    weights: list[float] = []
    origins: list[int] = []
    paths = [np.empty(0, dtype=np.int64)] * len(rows)
    path: list[int] = []
    for index in order:
        ids = rows[index].token_ids
        shared = _common_prefix([tokens[node] for node in path], ids)
        for node, weight in zip(path[:shared], rows[index].loss_weights[:shared], strict=True):
            weights[node] += weight
        fresh = range(len(tokens), len(tokens) + len(ids) - shared)
        above = path[shared - 1] if shared else -1
        parents += [above, *fresh[:-1]] if fresh else []
        tokens += ids[shared:]
        depths += range(shared, len(ids))
        weights += rows[index].loss_weights[shared:]
        origins += [index] * len(fresh)
        path = [*path[:shared], *fresh]
        paths[index] = np.asarray(path, dtype=np.int64)
    parent = np.asarray(parents, dtype=np.int64)
    return PrefixTree(
        token_ids=np.asarray(tokens, dtype=np.int64),
        positions=np.asarray(depths, dtype=np.int64),
        parent=parent,
        end=_ends(parent),
        weight=np.asarray(weights, dtype=np.float32),
        leaf=np.asarray([nodes[-1] for nodes in paths], dtype=np.int64),
        origin=np.asarray(origins, dtype=np.int64),
        paths=tuple(paths),
    )


def segments(tree: PrefixTree) -> tuple[Segment, ...]:
    """Cut the tree where it branches. Every node is in exactly one segment; segments come in node order."""
    children = np.bincount(tree.parent[tree.parent >= 0], minlength=tree.size)
    continues = (tree.parent == np.arange(tree.size) - 1) & (tree.parent >= 0)
    continues[1:] &= children[:-1] == 1
    starts = np.flatnonzero(~continues)
    ends = np.append(starts[1:], tree.size)
    return tuple(Segment(int(s), int(e), _path_above(tree.parent, int(s))) for s, e in zip(starts, ends, strict=True))


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    length = min(len(left), len(right))
    differ = np.flatnonzero(np.asarray(left[:length]) != np.asarray(right[:length]))
    return int(differ[0]) if differ.size else length


def _ends(parent: Ints) -> Ints:
    end = np.arange(1, len(parent) + 1)
    for node in range(len(parent) - 1, 0, -1):
        above = parent[node]
        if above >= 0 and end[above] < end[node]:
            end[above] = end[node]
    return end


def _path_above(parent: Ints, node: int) -> Ints:
    path = []
    above = int(parent[node])
    while above >= 0:
        path.append(above)
        above = int(parent[above])
    return np.asarray(path[::-1], dtype=np.int64)
