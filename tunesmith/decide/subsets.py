"""Nested subsets of the training rows as datasets of their own: each holds all rows of the smaller ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tunesmith.decide.options import DecideOptions
from tunesmith.store.datasets import StoredDataset, dataset_path, load_dataset, save_dataset
from tunesmith.trials import Grounds
from tunesmith.types.base import digest_json
from tunesmith.types.dataset import Drop, Example, Ledger, SplitStatistics

__all__ = ["nested", "store_subset", "subset_sizes"]

LEAST = 8
MOST_LABELS = 200


def subset_sizes(options: DecideOptions, train_rows: int) -> tuple[int, ...]:
    """Rows of the subsets, the largest first; sizes below 8 rows and equal ones are left out.

    A budget of 1600 with the shares 1/2, 1/4, 1/8 of 9000 rows: 1600, 800, 400, 200.
    """
    largest = min(options.tune_rows, train_rows)
    sizes = [largest, *(round(share * largest) for share in options.shares)]
    return tuple(sorted({size for size in sizes if LEAST <= size <= largest}, reverse=True))


def nested(rows: Sequence[Example], chain: int, seed: int) -> tuple[Example, ...]:
    """All training rows in the order in which chain number `chain` draws them: its first n rows are its subset of n."""
    order = np.random.default_rng((seed, chain)).permutation(len(rows))
    return tuple(rows[int(place)] for place in order)


def store_subset(grounds: Grounds, rows: Sequence[Example], chain: int) -> StoredDataset:
    """The dataset of these training rows, with the validation rows of the whole one and no test rows.

    Its digest is that of the rows and their parent, so the same subset is the same dataset.
    """
    parent = grounds.dataset.manifest
    digest = digest_json(["subset", parent.digest, chain, [row.id for row in rows]])
    if dataset_path(grounds.home, digest).is_dir():
        return load_dataset(grounds.home, digest)
    validation = grounds.dataset.examples("validation")
    train = _statistics(grounds, rows)
    tokens = train.tokens + parent.splits["validation"].tokens
    rows_used = len(rows) + len(validation)
    left = parent.splits["train"].rows - len(rows)
    left_tokens = parent.splits["train"].tokens - train.tokens
    drops = (Drop(reason="not_in_subset", rows=left, tokens=left_tokens),) if left else ()
    ledger = Ledger(
        rows_in=rows_used + left,
        rows_used=rows_used,
        tokens_in=tokens + (left_tokens if left else 0),
        tokens_used=tokens,
        drops=drops,
    )
    manifest = parent.model_copy(
        update={
            "digest": digest,
            "parents": (parent.digest,),
            "splits": {"train": train, "validation": parent.splits["validation"]},
            "ledger": ledger,
            "split_digests": {},
            "file_digests": {},
            "findings": {},
        }
    )
    return save_dataset(grounds.home, manifest, {"train": rows, "validation": validation})


def _statistics(grounds: Grounds, rows: Sequence[Example]) -> SplitStatistics:
    rendered = [grounds.renderer.render(each) for row in rows for each in row.content.conversations]
    labels = Counter(row.conversation.reference for row in rows)
    return SplitStatistics(
        rows=len(rows),
        tokens=sum(len(each.token_ids) for each in rendered),
        trained_tokens=sum(each.trained_tokens for each in rendered),
        longest=max(len(each.token_ids) for each in rendered),
        labels=dict(labels) if len(labels) <= MOST_LABELS else {},
    )
