"""From a prepared dataset to the groups that an objective trains on."""

from __future__ import annotations

from tunesmith.models.template import Renderer
from tunesmith.store.datasets import StoredDataset
from tunesmith.train.objective import Group
from tunesmith.types.dataset import SplitName

__all__ = ["groups_of"]


def groups_of(renderer: Renderer, dataset: StoredDataset, split: SplitName) -> list[Group]:
    """One group per example of `split`, in stored order; none when the dataset has no such split."""
    if split not in dataset.manifest.splits:
        return []
    return [Group(rows=(renderer.render(example.conversation),), id=example.id) for example in dataset.examples(split)]
