"""Work for a client: its result, or its end when the client leaves; the caller goes on either way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from tunesmith.serve.disconnect import while_connected

Receive = Callable[[], Awaitable[dict[str, Any]]]


def receiving(left: asyncio.Event) -> Receive:
    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    return receive


def test_work_of_a_client_who_stays_is_done() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 5

    async def fails() -> int:
        raise ValueError("no")

    async def main() -> None:
        assert await while_connected(receiving(asyncio.Event()), work()) == 5
        with pytest.raises(ValueError, match="no"):
            await while_connected(receiving(asyncio.Event()), fails())
        assert len(asyncio.all_tasks()) <= 3  # two watchers end by themselves
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_work_of_a_client_who_leaves_is_cancelled_and_the_caller_is_not() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            await asyncio.sleep(0)  # what it has to tidy up is waited for
            ended.append("tidy")
            raise

    async def main() -> None:
        left = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, left.set)
        with pytest.raises(ClientDisconnect):
            await while_connected(receiving(left), work())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0.01)  # not cancelled

    asyncio.run(main())
    assert ended == ["cancelled", "tidy"]


def test_leaving_at_the_moment_of_the_result_disturbs_nobody() -> None:
    async def main() -> int:
        left = asyncio.Event()

        async def work() -> int:
            await asyncio.sleep(0)
            left.set()  # the watcher sees it when the work has ended
            return 3

        found = await while_connected(receiving(left), work())
        await asyncio.sleep(0.01)
        return found

    assert asyncio.run(main()) == 3


def test_a_caller_who_is_stopped_stops() -> None:
    async def main() -> None:
        task = asyncio.create_task(while_connected(receiving(asyncio.Event()), asyncio.sleep(60)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
