"""A step uses all threads only where its products are large enough to pay for waking them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from tunesmith.engine.backends._regions import Region, region_of

SMALL = 640_000  # values of an average weight of a 135M model
LARGE = 8_000_000  # and of one of 1.7B


def mkl_threads() -> str | None:
    """What MKL says of the calling thread; None where torch was built without it."""
    lines = [line.strip() for line in torch.__config__.parallel_info().splitlines()]
    return next((line.rpartition(" ")[2] for line in lines if line.startswith("mkl_get_max_threads")), None)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_small_model_decodes_with_one_thread_and_reads_prompts_with_all(dtype: torch.dtype) -> None:
    region = Region(SMALL, dtype)
    assert [region.pays(rows, 2) for rows in (1, 16, 64, 512)] == [False, False, True, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_large_model_always_uses_all_threads(dtype: torch.dtype) -> None:
    assert all(Region(LARGE, dtype).pays(rows, 2) for rows in (1, 16, 512))


def test_more_rows_or_threads_never_pay_less_and_one_thread_is_one_thread() -> None:
    region = Region(SMALL, torch.bfloat16)
    assert [region.pays(rows, 4) for rows in range(200)] == sorted(region.pays(rows, 4) for rows in range(200))
    assert [region.pays(24, threads) for threads in range(1, 64)] == sorted(
        region.pays(24, threads) for threads in range(1, 64)
    )
    assert not region.pays(1_000_000, 1)


def test_the_number_of_threads_is_set_inside_the_block_and_back_after_it() -> None:
    region = Region(SMALL, torch.float32)
    with region.threads_for(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with region.threads_for(512):
        assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="broke"), region.threads_for(1):
        raise ValueError("broke")
    assert torch.get_num_threads() == 2


def test_products_of_other_threads_keep_their_number() -> None:
    """Of threads that exist, and of those whose first product falls into the block."""
    seen: dict[str, int] = {}
    region = Region(SMALL, torch.float32)
    with ThreadPoolExecutor(1) as older, ThreadPoolExecutor(1) as newer:
        older.submit(torch.get_num_threads).result()
        with region.threads_for(1):
            assert mkl_threads() in (None, "1")
            seen["older inside"] = older.submit(torch.get_num_threads).result()
            seen["newer inside"] = newer.submit(torch.get_num_threads).result()
        seen["older after"] = older.submit(torch.get_num_threads).result()
        seen["newer after"] = newer.submit(torch.get_num_threads).result()
    assert seen == dict.fromkeys(seen, 2)
    assert mkl_threads() in (None, "2")


def test_the_average_is_over_what_is_multiplied() -> None:
    model = nn.ModuleDict({"words": nn.Embedding(100_000, 10), "one": nn.Linear(10, 30), "norm": nn.LayerNorm(10)})
    found, expected = region_of(model), Region(300, torch.float32)
    assert found is not None
    assert vars(found) == vars(expected)


def test_no_average_without_products_or_away_from_the_processor() -> None:
    assert region_of(nn.Embedding(10, 10)) is None
    assert region_of(nn.Linear(10, 10, device="meta")) is None
