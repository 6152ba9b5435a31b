"""Texts that are embedded together have the vectors that they have alone, whoever leaves meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tunesmith.engine.backends import _embedding
from tunesmith.engine.backends.embedded import Embedded
from tunesmith.testing.adapters import make_adapter

Result = TypeVar("Result")

LENGTHS = (1, 3, 9, 2, 40, 7, 1, 700, 5, 30)
TEXTS = [tuple(token % 200 for token in range(start, start + length)) for start, length in enumerate(LENGTHS)]
STEP = 512


def with_engine(base: Path, work: Callable[[Any], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        engine: Any = Embedded(precision="float32", step_tokens=STEP).start(base)
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The texts of each step."""
    found: list[int] = []
    spans = _embedding._Texts._spans

    def counted(self: Any, tokens: int) -> Any:
        taken = spans(self, tokens)
        found.append(len(taken))
        return taken

    monkeypatch.setattr(_embedding._Texts, "_spans", counted)
    return found


def test_together_is_as_alone(tiny: Path, tmp_path: Path, steps: list[int]) -> None:
    digest = make_adapter(tiny, tmp_path / "adapter")

    async def work(engine: Any) -> None:
        await engine.load_adapter(digest, tmp_path / "adapter")
        for adapter in (None, digest):
            alone = [await engine.embed(text, adapter) for text in TEXTS]
            steps.clear()
            together = await asyncio.gather(*(engine.embed(text, adapter) for text in TEXTS))
            assert steps == [9, 1, 1]  # all short ones at once, the long one in two pieces
            for one, other in zip(alone, together, strict=True):
                assert one == pytest.approx(other, abs=1e-6)

    with_engine(tiny, work)


def test_texts_of_several_adapters_do_not_meet(tiny: Path, tmp_path: Path, steps: list[int]) -> None:
    digest = make_adapter(tiny, tmp_path / "adapter")
    asked = [(text, adapter) for text in TEXTS[:4] for adapter in (None, digest)]

    async def work(engine: Any) -> None:
        await engine.load_adapter(digest, tmp_path / "adapter")
        alone = [await engine.embed(*one) for one in asked]
        steps.clear()
        together = await asyncio.gather(*(engine.embed(*one) for one in asked))
        assert steps == [4, 4]
        for one, other in zip(alone, together, strict=True):
            assert one == pytest.approx(other, abs=1e-6)
        assert max(abs(a - b) for a, b in zip(together[0], together[1], strict=True)) > 1e-4

    with_engine(tiny, work)


def test_whoever_leaves_takes_nobodys_vector_along(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, left, advance = threading.Event(), threading.Event(), _embedding._Texts.advance

    def slowly(self: Any, tokens: int) -> bool:
        begun.set()
        assert left.wait(60)
        return advance(self, tokens)

    async def work(engine: Any) -> None:
        alone = [await engine.embed(text, None) for text in TEXTS[:3]]
        monkeypatch.setattr(_embedding._Texts, "advance", slowly)
        tasks = [asyncio.create_task(engine.embed(text, None)) for text in TEXTS[:3]]
        await asyncio.to_thread(begun.wait, 60)
        tasks[0].cancel()
        await asyncio.sleep(0)
        left.set()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        for one, task in zip(alone[1:], tasks[1:], strict=True):
            assert await task == pytest.approx(one, abs=1e-6)

    with_engine(tiny, work)
