"""What is watched besides the loss, added up over the pieces of a step and the processes that compute them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.train.objective import Group, Objective, Scored

__all__ = ["add_watched", "watched"]

_PART, _WHOLE = "/part", "/whole"


def add_watched(
    sums: dict[str, float], objective: Objective, scored: Scored, piece: Sequence[Group], groups: int
) -> None:
    """Add to `sums` what `objective` watches in a `piece` of a step of so many `groups`."""
    for name, mean in objective.metrics(scored, piece).items():
        sums[name] = sums.get(name, 0.0) + len(piece) / groups * mean
    for name, share in objective.shares(scored).items():
        sums[name + _PART] = sums.get(name + _PART, 0.0) + share.part
        sums[name + _WHOLE] = sums.get(name + _WHOLE, 0.0) + share.whole


def watched(sums: Mapping[str, float]) -> dict[str, float]:
    """The values of a whole step: means as they are, and the share that each pair of counts makes."""
    found = {name: value for name, value in sums.items() if not name.endswith((_PART, _WHOLE))}
    for name, whole in sums.items():
        if name.endswith(_WHOLE):
            share = name.removesuffix(_WHOLE)
            found[share] = sums[share + _PART] / whole
    return found
