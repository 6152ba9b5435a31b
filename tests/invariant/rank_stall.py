"""Two ranks of which the second lives but does not come to a collective: python -m tests.invariant.rank_stall"""

from __future__ import annotations

import os
import time

from tunesmith.train.parallel.joining import joined
from tunesmith.train.parallel.reports import reporting
from tunesmith.types.recipe import ParallelSpec

__all__ = ["WAIT_SECONDS", "stall"]

WAIT_SECONDS = 12.0


def stall() -> None:
    """Rank 0 asks for a sum; rank 1 is busy with something else for much longer than it waits."""
    with reporting(os.environ), joined(ParallelSpec(wait_seconds=WAIT_SECONDS)) as team:
        team.at("step 7")
        if team.leads:
            team.totals({"loss": 1.0})
        time.sleep(10 * WAIT_SECONDS)


if __name__ == "__main__":
    stall()
