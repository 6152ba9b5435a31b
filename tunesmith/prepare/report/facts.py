"""All that the report of a dataset is made of, as one value."""

from __future__ import annotations

from typing import NamedTuple

from tunesmith.prepare.report.overlap import Overlaps
from tunesmith.prepare.report.profile import Profile
from tunesmith.prepare.report.tokens import MaskedRow
from tunesmith.types.dataset import DatasetManifest
from tunesmith.types.gate import GateFacts, Leak

__all__ = ["DataFacts", "gate_facts"]


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


def gate_facts(facts: DataFacts) -> GateFacts:
    """What gate rules ask of the data: what the held-out splits share with the training rows, and the licences."""
    leaks = (
        Leak(where=pair.held, rows=pair.rows, exact=pair.exact, normalised=pair.normalised, near=pair.near)
        for pair in facts.overlaps.pairs
        if pair.other == "train"
    )
    return GateFacts(
        dataset_digest=facts.manifest.digest, leaks=tuple(leaks), licences=dict(facts.profile.trained_licences)
    )
