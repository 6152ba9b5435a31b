"""The servers that are measured, each started as a process of its own and stopped again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["Server", "llama_cpp", "ours", "transformers_serve"]

ROOT = Path(__file__).parents[2]
START_SECONDS = 300.0
KEY = "the key of the benchmark's own server"


class Server(NamedTuple):
    """A running server: its address ending in /v1, the model to ask for, a key, and how long it took to come up."""

    url: str
    model: str
    key: str | None
    start_seconds: float


@contextmanager
def ours(home: Path, base: Path, *options: str, model: str = "base") -> Iterator[Server]:
    """`tunesmith serve` on `base`; it is up when it says so."""
    command = [sys.executable, "-m", "tunesmith.cli.main", "serve", "--base", str(base), "--port", "0", "--json"]
    began = time.perf_counter()
    environment = {"TUNESMITH_HOME": str(home), "TUNESMITH_ADMIN_KEY": KEY}
    with _process([*command, *options], environment, stdout=subprocess.PIPE) as process:
        text = ""
        assert process.stdout is not None
        for line in process.stdout:
            text += line.decode()
            try:
                said = json.loads(text)
            except json.JSONDecodeError:
                continue
            yield Server(said["url"], model, KEY, time.perf_counter() - began)
            return
        raise RuntimeError(f"tunesmith serve ended before it was ready: {text}")


@contextmanager
def transformers_serve(base: Path, precision: str) -> Iterator[Server]:
    """`transformers serve` with continuous batching."""
    port = _free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(base), "--continuous-batching"]
    options = ["--device", "cpu", "--dtype", precision, "--host", "127.0.0.1", "--port", str(port)]
    # Its list of models fails where the hub's cache folder does not exist.
    with _answering([*command, *options], port, str(base), ready="/health") as server:
        yield server


@contextmanager
def llama_cpp(python: str, gguf: Path) -> Iterator[Server]:
    """llama-cpp-python's server on a GGUF file; `python` is an interpreter that has it."""
    port, threads = _free_port(), os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())
    command = [python, "-m", "llama_cpp.server", "--model", str(gguf), "--n_ctx", "4096", "--n_threads", threads]
    # Unless told otherwise it breaks off an answer as soon as another request arrives.
    options = ["--interrupt_requests", "False", "--host", "127.0.0.1", "--port", str(port)]
    with _answering([*command, *options], port, gguf.stem) as server:
        yield server


@contextmanager
def _answering(command: Sequence[str], port: int, model: str, ready: str = "/v1/models") -> Iterator[Server]:
    """A server that is up when it answers at `ready`."""
    began, url = time.perf_counter(), f"http://127.0.0.1:{port}/v1"
    with _process(command, {}) as process:
        while time.perf_counter() - began < START_SECONDS:
            if process.poll() is not None:
                raise RuntimeError(f"{command[2]} ended with {process.returncode} before it was ready")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=5):
                    yield Server(url, model, None, time.perf_counter() - began)
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{command[2]} is not up after {START_SECONDS:.0f} s")


@contextmanager
def _process(
    command: Sequence[str], environment: dict[str, str], stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    own = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "GOMP_SPINCOUNT": "0", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        command, stdout=stdout, stderr=subprocess.DEVNULL, env={**os.environ, **own, **environment}
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
