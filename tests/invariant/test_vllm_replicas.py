"""Two replicas in processes of their own, one killed: answers go on, and it comes back with its adapters.

The processes are the fake of `tests/fake_vllm.py` in vLLM's place; `make test-vllm` does the same with the real one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tunesmith.engine.backends.vllm import VLLM
from tunesmith.engine.engine import GenerationRequest, Sampling
from tunesmith.errors import EngineError
from tunesmith.testing.adapters import make_adapter

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fake_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m vllm.entrypoints.openai.api_server` is the fake."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests" / "fakes"), str(ROOT)]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


async def ask(engine: Any, adapter: str | None) -> tuple[int, ...]:
    request = GenerationRequest(prompt_ids=(5, 6, 7), adapter=adapter, sampling=Sampling(max_tokens=5))
    return tuple([event.token_id async for event in engine.submit(request)])


def names(url: str) -> set[str]:
    try:
        return {card["id"] for card in httpx.get(f"{url}/models").json()["data"]}
    except httpx.TransportError:
        return set()


@pytest.mark.slow
@pytest.mark.usefixtures("fake_program")
def test_a_killed_replica_is_started_again_and_given_its_adapters(tiny: Path, tmp_path: Path) -> None:
    digest = make_adapter(tiny, tmp_path / "adapter")
    engine: Any = VLLM(python=sys.executable, replicas=2, precision="float32", look_seconds=0.2).start(tiny)
    replicas = engine._targets
    urls = [replica.url for replica in replicas._replicas]
    pids = replicas._processes.ids

    async def drill() -> None:
        await engine.load_adapter(digest, tmp_path / "adapter")
        assert all(digest in names(url) for url in urls)
        tuned, plain = await ask(engine, digest), await ask(engine, None)
        assert tuned != plain
        os.kill(pids[0], signal.SIGKILL)
        for _ in range(6):
            assert (await ask(engine, digest), await ask(engine, None)) == (tuned, plain)
        deadline = time.monotonic() + 120
        while digest not in names(urls[0]):
            assert time.monotonic() < deadline, "the killed replica did not come back with its adapter"
            await asyncio.sleep(0.2)
        while not replicas.ready:
            await asyncio.sleep(0.05)
        assert replicas._processes.ids[0] != pids[0]
        os.kill(pids[1], signal.SIGKILL)  # now the one that came back answers alone
        assert (await ask(engine, digest), await ask(engine, None)) == (tuned, plain)
        await engine.close()

    asyncio.run(drill())
    for pid in replicas._processes.ids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.usefixtures("fake_program")
def test_a_server_that_cannot_start_shows_the_end_of_its_log(tiny: Path) -> None:
    with pytest.raises(EngineError, match=r"ended with status [12].*\n.*|Error"):
        VLLM(python=sys.executable, arguments=("--port", "none"), start_seconds=240).start(tiny)


def test_an_interpreter_that_is_not_there_is_named(tiny: Path) -> None:
    with pytest.raises(EngineError, match="cannot be started: /nowhere/python: No such file"):
        VLLM(python="/nowhere/python").start(tiny)
