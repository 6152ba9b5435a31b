"""vLLM over HTTP: attach to servers that run, or start them; adapters are loaded at run time on every one."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from tunesmith.engine.backend import Backend
from tunesmith.engine.engine import Engine
from tunesmith.errors import EngineError, ModelError
from tunesmith.ports import free_port

if TYPE_CHECKING:
    from tunesmith.engine.backends._processes import Processes
    from tunesmith.engine.backends._replicas import Replicas

__all__ = ["VLLM"]

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank takes


class VLLM(Backend):
    """Options of the vLLM backend.

    urls: running servers to attach to (http://host:port/v1), which serve the same base, were started with
    --enable-lora, --structured-outputs-config '{"backend": "guidance"}' and the environment variable
    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and see the adapters' folders.
    Without urls, `replicas` servers are started with the interpreter `python`, the further `arguments` and the
    `environment`, and are stopped with the engine.
    paths: local folder -> the same folder as the servers see it, where that differs (containers).
    precision: what the servers compute in (--dtype); it sets the bound within which they must agree with training.
    max_lora_rank: the largest rank of an adapter. max_loras: how many adapters a started server puts into one batch.
    context: most tokens of prompt and answer (None: the server's own).
    look_seconds: how often the servers are looked at. timeout_seconds: longest silence in an answer.
    start_seconds: longest wait until all servers are up.
    """

    urls: tuple[str, ...] = ()
    api_key: str | None = None
    replicas: int = Field(default=1, ge=1)
    python: str = sys.executable
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    paths: dict[str, str] = {}
    precision: Literal["float32", "float16", "bfloat16"] = "bfloat16"
    max_lora_rank: int = Field(default=64, ge=1, le=512)
    max_loras: int = Field(default=4, ge=1)
    context: int | None = Field(default=None, ge=16)
    look_seconds: float = Field(default=2.0, gt=0.0)
    timeout_seconds: float = Field(default=120.0, gt=0.0)
    start_seconds: float = Field(default=600.0, gt=0.0)

    @field_validator("urls", mode="before")
    @classmethod
    def _one_or_several(cls, urls: object) -> object:
        """A single text may hold several, between commas, as the command line gives them."""
        return tuple(url.strip() for url in urls.split(",")) if isinstance(urls, str) else urls

    @field_validator("urls")
    @classmethod
    def _whole(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{url!r} is no address; write http://host:port/v1")
        return tuple(url.rstrip("/") for url in urls)

    def start(self, base_path: Path) -> Engine:
        """Attach to the servers, or start them, and wait until all are up.

        Raises EngineError when one does not come up, ModelError when they do not serve the base in `base_path`.
        """
        import httpx

        from tunesmith.engine.admission import SHAPING
        from tunesmith.engine.backends._grammar import Grammars
        from tunesmith.engine.backends._processes import Command, Processes
        from tunesmith.engine.backends._remote import RemoteEngine, RemoteModel
        from tunesmith.engine.backends._replicas import Replicas, card_of
        from tunesmith.engine.backends._servable import PlainLoras
        from tunesmith.engine.backends._wire import Dialect
        from tunesmith.models.template import Renderer
        from tunesmith.models.weights import resolve_base
        from tunesmith.types.recipe import ModelSpec

        base = resolve_base(ModelSpec(base=str(base_path)), base_path)
        headers = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        ports = [] if self.urls else [free_port() for _ in range(self.replicas)]
        processes = Processes(Command(*self._command(base_path)), ports) if ports else Processes()
        urls = self.urls or tuple(f"http://127.0.0.1:{port}/v1" for port in ports)
        client = httpx.Client(headers=headers, timeout=10.0, trust_env=False)
        replicas = Replicas(
            urls,
            client,
            check=PlainLoras(base_path, base.digest, self.max_lora_rank).require,
            place=self._place,
            processes=processes,
            look_seconds=self.look_seconds,
        )
        try:
            processes.start()
            self._await(replicas, processes)
            cards = [card_of(client, url) for url in urls]
            context = self.context or min((card.context for card in cards if card.context), default=None)
            if context is None:
                raise ModelError("The server does not say how many tokens fit.", hint="Set the option context.")
        except BaseException:
            replicas.close()
            raise
        renderer = Renderer(base_path)
        vocabulary = int(json.loads((base_path / "config.json").read_text())["vocab_size"])
        model = RemoteModel(
            codec=renderer,
            vocabulary=vocabulary,
            context=context,
            precision=self.precision,
            dialect=Dialect("token_id", extras=True, late=False, scores=True),
            headers=headers,
            timeout_seconds=self.timeout_seconds,
            backend="vllm",
            offered=SHAPING,
            grammars=Grammars(renderer.tokenizer_json(), vocabulary, renderer.stop_ids),
        )
        return RemoteEngine(replicas, model)

    def _await(self, replicas: Replicas, processes: Processes) -> None:
        deadline = time.monotonic() + (self.start_seconds if processes.started else min(10.0, self.start_seconds))
        while True:
            processes.require_running()
            replicas.refresh()
            if replicas.ready:
                break
            if time.monotonic() > deadline:
                raise EngineError(
                    f"Not every vLLM server is up: {replicas.complaints}.",
                    hint="Start it, or leave out the option urls to have one started.",
                )
            time.sleep(0.2)
        replicas.begin()

    def _place(self, path: Path) -> str:
        """Where the servers see the folder `path`."""
        whole = path.resolve()
        for ours, theirs in self.paths.items():
            root = Path(ours).resolve()
            if whole.is_relative_to(root):
                return str(Path(theirs) / whole.relative_to(root))
        return str(whole)

    def _command(self, base_path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
        rank = min(rank for rank in _RANKS if rank >= self.max_lora_rank)
        options = [
            *("--model", str(base_path), "--served-model-name", "base", "--dtype", self.precision),
            *("--enable-lora", "--max-loras", str(self.max_loras), "--max-lora-rank", str(rank)),
            *("--structured-outputs-config", '{"backend": "guidance"}'),
            *("--generation-config", "vllm", "--host", "127.0.0.1", "--port", "{port}"),
            *(("--max-model-len", str(self.context)) if self.context else ()),
            *(("--api-key", self.api_key) if self.api_key else ()),
            *self.arguments,
        ]
        environment = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1", **self.environment}
        return (self.python, "-m", "vllm.entrypoints.openai.api_server", *options), environment
