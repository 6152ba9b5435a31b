"""The harness's benchmark asks both sides the same items and counts what the harness adds; how much is for `bench`."""

from __future__ import annotations

import asyncio

from bench.harness import in_process, measured, short_suite


def test_both_sides_are_measured_on_the_same_items() -> None:
    found = asyncio.run(measured(in_process(short_suite(100)), 16, 2))
    assert found.items == 100
    assert 0 < found.bare < found.whole
    assert found.added_processor > 0
