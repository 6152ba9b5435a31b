"""Rows that belong together (one conversation, one passage, one family of templates) and are not independent.

Ten questions about one passage are not ten independent observations: treating them so makes standard errors too small
(Miller 2024, "Adding Error Bars to Evals", section 2.2). Because a metric's terms add, the whole remedy is to add them
up within each cluster first: the jackknife, the bootstrap and the permutation test then work on clusters instead of
rows. For a mean over clusters of one size the jackknife is Miller's clustered standard error times sqrt(C / (C - 1)),
the usual correction for C clusters (Cameron & Miller 2015, eq. 12); for others it is the CV3 estimator (MacKinnon,
Nielsen & Webb 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluate.metric import Floats

__all__ = ["Clusters", "clusters_of", "summed"]

Clusters = NDArray[np.int64]


def clusters_of(groups: Sequence[str]) -> Clusters | None:
    """[N] the number of each row's cluster, in order of appearance; None when no two rows share one.

    Rows of the group '' are each a cluster of their own.
    """
    numbers: dict[str | int, int] = {}
    found = [numbers.setdefault(group or row, len(numbers)) for row, group in enumerate(groups)]
    return np.array(found, dtype=np.int64) if len(numbers) < len(groups) else None


def summed(terms: Floats, clusters: Clusters | None) -> Floats:
    """[N, K] terms of rows -> [C, K] terms of clusters; the rows themselves when `clusters` is None."""
    if clusters is None:
        return terms
    sums = np.zeros((int(clusters.max()) + 1, terms.shape[1]))
    np.add.at(sums, clusters, terms)
    return sums
