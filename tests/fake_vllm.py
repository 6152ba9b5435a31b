"""A small server that speaks vLLM's HTTP, over the embedded engine: what ordinary tests of remote backends talk to.

It imitates, field by field, what vLLM 0.32 answers to the requests that Tunesmith makes (the real one is tested by
`make test-vllm`):

    GET  /v1/models                 cards with `parent` and `max_model_len`; loaded adapters are among them
    POST /v1/completions            prompts of token ids; streams one chunk a token with `token_ids` and `logprobs`
                                    whose tokens are "token_id:N" and whose `top_logprobs` hold the chosen one too;
                                    `echo` with `max_tokens: 0` scores the prompt; 404 for a model it does not have
    POST /v1/load_lora_adapter      400 for a name it has (unless `load_inplace`) and for what vLLM does not serve, 404
                                    for a path without an adapter
    POST /v1/unload_lora_adapter    404 for a name it does not have

It reads no weights that vLLM would not, forgets its adapters when it ends, and takes vLLM's command line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from tunesmith.engine.backends._lora import is_plain_lora
from tunesmith.engine.backends.embedded import Embedded
from tunesmith.engine.engine import Constraint, GenerationRequest, Sampling, TokenEvent
from tunesmith.errors import TunesmithError
from tunesmith.models.adapter import adapter_digest

__all__ = ["FakeVLLM", "main", "serving"]


class FakeVLLM:
    """The server's state: an engine and the adapters under the names they were loaded with."""

    def __init__(self, model: Path, *, any_adapter: bool = False) -> None:
        self.model = model
        self.engine = Embedded(precision="float32").start(model)
        self.adapters: dict[str, tuple[str, Path]] = {}
        self.requests: list[dict[str, Any]] = []
        self._any_adapter = any_adapter

    def app(self) -> FastAPI:
        """The routes."""
        app = FastAPI(openapi_url=None)
        app.add_api_route("/v1/models", self.models, methods=["GET"])
        app.add_api_route("/v1/completions", self.completions, methods=["POST"])
        app.add_api_route("/v1/load_lora_adapter", self.load, methods=["POST"])
        app.add_api_route("/v1/unload_lora_adapter", self.unload, methods=["POST"])
        return app

    async def models(self) -> dict[str, Any]:
        """The cards."""
        base = {"id": "base", "object": "model", "owned_by": "vllm", "root": str(self.model), "parent": None}
        tuned = [
            {"id": name, "object": "model", "root": str(path), "parent": "base", "max_model_len": None}
            for name, (_, path) in self.adapters.items()
        ]
        return {"object": "list", "data": [{**base, "max_model_len": self.engine.context_length}, *tuned]}

    async def load(self, request: Request) -> Response:
        """Load an adapter under a name."""
        given = await request.json()
        name, path = given["lora_name"], Path(given["lora_path"])
        if name in self.adapters and not given.get("load_inplace"):
            return _error(400, f"The lora adapter '{name}' has already been loaded.", "InvalidUserInput")
        if not (path / "adapter_config.json").is_file():
            return _error(404, f"Loading lora {name} failed: No adapter found for <path>", "NotFoundError")
        if not self._any_adapter and not is_plain_lora(path):
            return _error(500, "Call to add_lora method failed: vLLM does not yet support it.", "InternalServerError")
        digest = adapter_digest(path)
        try:
            await self.engine.load_adapter(digest, path)
        except TunesmithError as error:
            return _error(500, f"Call to add_lora method failed: {error}", "InternalServerError")
        self.adapters[name] = (digest, path)
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: Request) -> Response:
        """Forget a name; what runs goes on."""
        name = (await request.json())["lora_name"]
        if name not in self.adapters:
            return _error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        del self.adapters[name]
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def completions(self, request: Request) -> Response:
        """A streamed answer, or the prompt's own log-probabilities."""
        given = await request.json()
        self.requests.append(given)
        name = given["model"]
        if name != "base" and name not in self.adapters:
            return _error(404, f"The model `{name}` does not exist. Valid aliases: base.", "NotFoundError", "model")
        adapter = None if name == "base" else self.adapters[name][0]
        try:
            if given.get("echo"):
                return JSONResponse(await self._echoed(given, adapter))
            return StreamingResponse(self._chunks(given, adapter), media_type="text/event-stream")
        except TunesmithError as error:
            return _error(400, str(error), "BadRequestError")

    async def _echoed(self, given: Mapping[str, Any], adapter: str | None) -> dict[str, Any]:
        ids = tuple(given["prompt"])
        scored = await self.engine.score_with_top(ids[:1], ids[1:], adapter, given["logprobs"])
        found = [one.logprob for one in scored]
        names = [f"token_id:{token}" for token in ids]
        logprobs = {"tokens": names, "token_logprobs": [None, *found], "text_offset": [0] * len(ids)}
        likeliest = [{f"token_id:{best.token_id}": best.logprob for best in one.top} for one in scored]
        tops = [None, *(best | {name: one} for best, name, one in zip(likeliest, names[1:], found, strict=True))]
        choice = {"index": 0, "text": "", "logprobs": {**logprobs, "top_logprobs": tops}, "finish_reason": "length"}
        return {"id": "cmpl-1", "object": "text_completion", "model": given["model"], "choices": [choice]}

    def _chunks(self, given: Mapping[str, Any], adapter: str | None) -> AsyncIterator[str]:
        sampling = Sampling(
            max_tokens=given["max_tokens"],
            temperature=given["temperature"],
            top_p=given["top_p"],
            seed=given.get("seed"),
            stop=tuple(given.get("stop", ())),
            top_logprobs=given["logprobs"],
            frequency_penalty=given.get("frequency_penalty", 0.0),
            presence_penalty=given.get("presence_penalty", 0.0),
            logit_bias={int(token): bias for token, bias in given.get("logit_bias", {}).items()},
            constraint=_constraint(given.get("structured_outputs")),
        )
        stream = self.engine.submit(
            GenerationRequest(prompt_ids=tuple(given["prompt"]), adapter=adapter, sampling=sampling)
        )
        return _sse(stream, given["model"])


def _constraint(given: Mapping[str, Any] | None) -> Constraint | None:
    if given is None:
        return None
    (name, source), *_ = given.items()
    if name == "json":
        return Constraint(kind="json_schema", source=json.dumps(source))
    return Constraint(kind={"regex": "regex", "grammar": "lark"}[name], source=source)


async def _sse(stream: AsyncIterator[TokenEvent], model: str) -> AsyncIterator[str]:
    async for event in stream:
        tops = {f"token_id:{one.token_id}": one.logprob for one in event.top}
        named = f"token_id:{event.token_id}"
        logprobs = {"tokens": [named], "token_logprobs": [event.logprob], "text_offset": [0]}
        choice = {
            "index": 0,
            "text": event.text,
            "logprobs": {**logprobs, "top_logprobs": [{named: event.logprob} | tops]},
            "finish_reason": event.finish_reason,
            "stop_reason": None,
            "token_ids": [event.token_id],
        }
        chunk = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": model, "choices": [choice]}
        # As vLLM does, with characters beyond ASCII as they are, line separators among them.
        yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


def _error(status: int, message: str, kind: str, param: str | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": status}}, status)


@contextlib.contextmanager
def serving(fake: Any) -> Iterator[str]:
    """`fake.app()` in a thread of this process: its address, ending in /v1."""
    server = uvicorn.Server(uvicorn.Config(fake.app(), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not (server.started and server.servers):
            assert thread.is_alive(), "the fake server ended"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()


def main() -> None:
    """Serve until killed, as `python -m vllm.entrypoints.openai.api_server` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given, _ = parser.parse_known_args()
    uvicorn.run(FakeVLLM(given.model).app(), port=given.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
