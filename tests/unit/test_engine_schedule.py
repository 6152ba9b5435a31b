"""The pool's spans, the prefix cache and the scheduler, without any tensors."""

from __future__ import annotations

import random

import pytest

from tunesmith.engine.prefixes import PrefixCache, PrefixEntry, shared_prefix
from tunesmith.engine.schedule import Limits, Scheduler, Sequence
from tunesmith.engine.spans import SpanAllocator


def test_spans_are_taken_first_fit_and_merge_again() -> None:
    spans = SpanAllocator(10)
    assert [spans.take(4), spans.take(3), spans.take(3), spans.take(1)] == [0, 4, 7, None]
    spans.give(4, 3)
    assert (spans.take(4), spans.take(2)) == (None, 4)
    spans.give(4, 2)
    spans.give(0, 4)
    spans.give(7, 3)
    assert (spans.free, spans.take(10)) == (10, 0)


def test_giving_back_what_is_free_is_an_error() -> None:
    spans = SpanAllocator(10)
    spans.take(6)
    spans.give(2, 2)
    for start, length in ((2, 1), (1, 2), (5, 2), (9, 1), (-1, 1), (8, 5)):
        with pytest.raises(ValueError, match="not taken"):
            spans.give(start, length)


def test_spans_never_overlap_and_nothing_is_lost() -> None:
    draw, spans, taken = random.Random(0), SpanAllocator(64), dict[int, int]()
    for _ in range(2000):
        if taken and draw.random() < 0.5:
            start = draw.choice(list(taken))
            spans.give(start, taken.pop(start))
        else:
            length = draw.randint(1, 12)
            start = spans.take(length)
            if start is not None:
                used = {slot for at, size in taken.items() for slot in range(at, at + size)}
                assert not used & set(range(start, start + length))
                taken[start] = length
        assert spans.free == 64 - sum(taken.values())


@pytest.mark.parametrize(
    ("left", "right", "limit", "expected"),
    [
        ([], [], 9, 0),
        ([1], [], 9, 0),
        ([1, 2], [2, 2], 9, 0),
        ([1, 2, 3], [1, 2, 3], 9, 3),
        ([1, 2, 3], [1, 2, 3], 2, 2),
        ([1, 2, 3], [1, 2, 4, 5], 9, 2),
        ([1, 2, 3], [1, 2, 3, 4, 5], 9, 3),
    ],
)
def test_shared_prefix(left: list[int], right: list[int], limit: int, expected: int) -> None:
    assert shared_prefix(left, right, limit) == shared_prefix(right, left, limit) == expected


def test_prefixes_are_found_by_adapter_and_length() -> None:
    cache = PrefixCache(100)
    short, long, tuned = (
        PrefixEntry(None, [1, 2], 0),
        PrefixEntry(None, [1, 3, 4], 2),
        PrefixEntry("a", [1, 3, 4, 5], 5),
    )
    for entry in (short, long, tuned):
        assert cache.add(entry) == []
    assert cache.find(None, [1, 3, 4, 5], 9) == (long, 3)
    assert cache.find(None, [1, 3, 4, 5], 2) == (long, 2)
    assert cache.find("a", [1, 3, 4, 5], 9) == (tuned, 4)
    assert cache.find("b", [1, 3, 4, 5], 9) == (None, 0)
    assert cache.find(None, [7], 9) == (None, 0)
    assert cache.drop("a") == [tuned]
    assert cache.find("a", [1, 3], 9) == (None, 0)


def test_prefixes_are_bounded_and_the_least_recently_used_goes() -> None:
    cache = PrefixCache(max_tokens=5, max_entries=2)
    first, second, third = (PrefixEntry(None, [head, 0], 0) for head in (1, 2, 3))
    cache.add(first)
    cache.add(second)
    cache.touch(first)
    assert cache.add(third) == [second]
    too_big = PrefixEntry(None, [9] * 6, 0)
    assert cache.add(too_big) == [too_big]
    covered = PrefixEntry(None, [3], 0)
    assert cache.add(covered) == [covered]
    longer = PrefixEntry(None, [3, 0, 0], 0)
    assert cache.add(longer) == [third]
    assert cache.tokens == 5
    assert cache.evict(keep=first) == longer
    assert cache.evict(keep=first) is None


def scheduler(**changes: int) -> tuple[Scheduler, list[tuple[int, int, int]]]:
    limits = {"max_running": 4, "step_tokens": 32, "kv_tokens": 200, "prefix_tokens": 100} | changes
    copies: list[tuple[int, int, int]] = []
    return Scheduler(Limits(**limits), lambda *span: copies.append(span)), copies


def sequence(tokens: list[int], answer: int = 4, adapter: str | None = None) -> Sequence:
    return Sequence(list(tokens), len(tokens) + answer - 1, len(tokens) - 1, adapter)


def step(plan: Scheduler) -> list[tuple[int, int]]:
    """One step as (first token, number computed), with a token appended where a prompt or answer was complete."""
    plan.admit()
    chunks = plan.plan()
    for one, length in chunks:
        one.computed += length
        if not one.pending:
            one.tokens.append(0)
    return [(one.tokens[0], length) for one, length in chunks]


def test_answers_go_first_then_prompts_in_chunks_within_the_budget() -> None:
    plan, _ = scheduler()
    plan.waiting.append(sequence([1] * 5))
    assert step(plan) == [(1, 5)]
    plan.waiting.extend([sequence([2] * 40), sequence([3] * 10)])
    assert step(plan) == [(1, 1), (2, 31)]
    assert step(plan) == [(1, 1), (2, 9), (3, 10)]
    assert step(plan) == [(1, 1), (2, 1), (3, 1)]


def test_requests_wait_in_order_for_room_and_for_a_place() -> None:
    plan, _ = scheduler(kv_tokens=20, max_running=2)
    first, second, small = sequence([1] * 9, 4), sequence([2] * 9, 4), sequence([3], 1)
    plan.waiting.extend([first, second, small])
    step(plan)
    assert plan.running == [first]  # the second does not fit, and the small one does not overtake it
    plan.retire(first, keep=False)
    step(plan)
    assert plan.running == [second, small]


def test_shared_beginning_is_waited_for_and_copied() -> None:
    plan, copies = scheduler(step_tokens=64)
    shared = list(range(100, 130))
    plan.waiting.extend([sequence([*shared, 1, 1]), sequence([*shared, 2]), sequence([7, 7], adapter="a")])
    assert [length for _, length in step(plan)] == [32, 2]
    assert len(plan.running) == 2
    assert [length for _, length in step(plan)] == [1, 1, 1]
    assert [length for _, _, length in copies] == [30]


def test_adapters_do_not_share() -> None:
    plan, copies = scheduler(step_tokens=64)
    shared = list(range(30))
    plan.waiting.extend([sequence(shared), sequence(shared, adapter="a")])
    assert [length for _, length in step(plan)] == [30, 30]
    assert copies == []


def test_finished_sequences_stay_as_prefixes_until_room_is_needed() -> None:
    plan, copies = scheduler(kv_tokens=60)
    done = sequence(list(range(20)))
    plan.waiting.append(done)
    step(plan)
    plan.retire(done, keep=True)
    assert plan.spans.free == 60 - 20
    again = sequence(list(range(20)))
    plan.waiting.append(again)
    assert [length for _, length in step(plan)] == [1]  # the last token's logits are needed, so it is computed
    assert copies[-1][2] == again.reused == 19
    plan.retire(again, keep=True)
    plan.waiting.append(sequence([5] * 56))
    step(plan)
    assert len(plan.prefixes) == 0
    assert plan.spans.free == 60 - 59


def test_forgetting_an_adapter_frees_its_prefixes() -> None:
    plan, _ = scheduler()
    one = sequence([1, 2, 3], adapter="a")
    plan.waiting.append(one)
    step(plan)
    plan.retire(one, keep=True)
    plan.forget("a")
    assert plan.spans.free == 200


def test_cancelled_while_waiting_is_gone() -> None:
    plan, _ = scheduler(kv_tokens=20)
    one, two = sequence([1] * 15), sequence([2] * 15)
    plan.waiting.extend([one, two])
    step(plan)
    plan.retire(two, keep=True)
    plan.retire(two, keep=True)
    assert not plan.waiting
    assert plan.running == [one]
