"""The worker of eval runs, on both databases, with an application whose answers the test gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI, Request

from tunesmith.serve import failures
from tunesmith.serve.access import AccessCheck
from tunesmith.serve.api.evals.runner import EvalRunner
from tunesmith.serve.platform import Platform, open_platform
from tunesmith.serve.service import Service
from tunesmith.settings import Settings
from tunesmith.store.eval_work import EvalWork
from tunesmith.store.evals import EvalStore
from tunesmith.store.keys import add_key, revoke_key
from tunesmith.types.evals import Counts, Eval, EvalRun
from tunesmith.types.key import Grant

CRITERION = {
    "id": "exact",
    "type": "string_check",
    "name": "exact",
    "spec": {
        "type": "string_check",
        "name": "exact",
        "input": "{{sample.output_text}}",
        "reference": "yes",
        "operation": "eq",
    },
}


def application(platform: Platform, on_question: Callable[[], None]) -> FastAPI:
    """Answers each question with yes, to callers whose key opens something."""
    app = FastAPI()
    failures.install(app)
    app.add_middleware(AccessCheck, keys=platform.keys)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> dict[str, Any]:
        await asyncio.to_thread(on_question)
        used = {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}}
        choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": used}

    return app


def begin(platform: Platform, key: str, rows: int) -> EvalRun:
    evals = EvalStore(platform.database)
    fields = {"id": "eval_1", "project": "ours", "created_at": 1, "updated_at": 1, "name": "n", "metadata": None}
    evals.add(Eval.model_validate(fields | {"data_source_config": {}, "testing_criteria": (CRITERION,)}))
    template = {"type": "template", "template": [{"role": "user", "content": "{{item.q}}"}]}
    content = {"type": "file_content", "content": [{"item": {"q": f"question {row}"}} for row in range(rows)]}
    run = EvalRun(
        id="run_1",
        eval_id="eval_1",
        project="ours",
        key=key,
        created_at=1,
        name="n",
        metadata=None,
        model="base",
        data_source={"type": "completions", "source": content, "model": "base", "input_messages": template},
        counts=Counts(total=rows),
        criteria={"exact": Counts(total=rows)},
    )
    evals.add_run(run)
    return run


@pytest.mark.parametrize("revoked", [False, True])
def test_a_refusal_of_the_key_is_no_answer_to_a_row(tmp_path: Path, database_url: str, revoked: bool) -> None:
    platform = open_platform(Settings(home=tmp_path, database_url=database_url))
    with platform.database.transaction() as session:
        key = add_key(session, Grant(project="ours"), int(time.time())).key
    run = begin(platform, key.id, 3)

    def on_question() -> None:
        if revoked:
            with platform.database.transaction() as session:
                revoke_key(session, key.id, int(time.time()))
            platform.keys.forget()

    async def work() -> EvalRun:
        service = cast("Service", SimpleNamespace(platform=platform))  # what the worker uses of it
        runner = EvalRunner(application(platform, on_question), service, EvalWork(platform.database))
        working = asyncio.create_task(runner.work())
        async with asyncio.timeout(60):
            while not (found := EvalStore(platform.database).run("ours", "eval_1", run.id)).finished:
                await asyncio.sleep(0.02)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return found

    done = asyncio.run(work())
    platform.close()
    counts = (done.counts.passed, done.counts.failed, done.counts.errored)
    if revoked:
        assert (done.status, done.error.code if done.error else None, counts) == (
            "failed",
            "invalid_api_key",
            (0, 0, 0),
        )
    else:
        assert (done.status, done.error, counts) == ("completed", None, (3, 0, 0))
