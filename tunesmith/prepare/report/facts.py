"""All that the report of a dataset is made of, as one value."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.prepare.report.overlap import Overlaps
from tunesmith.prepare.report.profile import Profile
from tunesmith.prepare.report.tokens import MaskedRow
from tunesmith.types.dataset import DatasetManifest

__all__ = ["DataFacts"]


class DataFacts(NamedTuple):
    """What was prepared. `limit` is the most tokens a row may have, `masked` the sampled rows token by token.

    `download` is what was left out as JSONL to put into the page; empty when that is too much, and a file beside it.
    """

    title: str
    created: str
    manifest: DatasetManifest
    profile: Profile
    overlaps: Overlaps
    masked: tuple[MaskedRow, ...]
    limit: int
    download: str
