"""Engine throughput beside others on the same model, in turn in one call.

    python -m bench.serving.engines [--rounds 3] [--requests 32] [--tokens 32] [--concurrency 1 4 16]
        [--only ours generate transformers llama.cpp] [--llama-python PATH] [--gguf FILE] [--out FILE]

    ours          tunesmith serve
    generate      transformers' generate on static batches, in this process's own child
    transformers  transformers serve with continuous batching
    llama.cpp     llama-cpp-python's server; --llama-python is an interpreter that has it

All are asked the same prompts for answers of at most the same length, greedily, with as many requests at once as the
concurrency says, each next one when one is done. Output tokens are counted by the model's tokenizer on the text that
came. Time to first token is the client's: from sending to the first piece of text. Mixed adapters: the same load at the
largest concurrency with no adapter, with one LoRA for all, and with eight in turn. No prompt comes twice, so that what
a server keeps of an earlier load makes no later one faster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from bench.neighbours import Neighbours
from bench.serving.client import Connection, speak
from bench.serving.prompts import prompts
from bench.serving.servers import ROOT, Server, llama_cpp, ours, transformers_serve
from tunesmith.models.template import Renderer
from tunesmith.models.weights import resolve_base, resolve_precision
from tunesmith.settings import Settings
from tunesmith.types.recipe import ModelSpec

__all__ = ["load", "load_many", "main", "measure", "mixed"]

SIDES = ("ours", "generate", "transformers", "llama.cpp")


async def load(
    server: Server, renderer: Renderer, concurrency: int, texts: Sequence[str], tokens: int
) -> dict[str, Any]:
    """Ask all `texts`, `concurrency` at a time; output tokens a second and time to first token."""
    return await load_many(server, renderer, concurrency, [(text, server.model) for text in texts], tokens)


async def load_many(
    server: Server, renderer: Renderer, concurrency: int, asked: Sequence[tuple[str, str]], tokens: int
) -> dict[str, Any]:
    """The same, each text of a model of its own."""
    waiting, firsts, counts = list(reversed(asked)), [], []

    async def client() -> None:
        connection = Connection(server.url, server.key)
        while waiting:
            text, model = waiting.pop()
            body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0}
            said = await speak(connection, body | {"max_tokens": tokens})
            firsts.append(said.first_seconds)
            counts.append(len(renderer.answer_ids("".join(said.pieces))) - 1)
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(concurrency)))
    seconds = time.perf_counter() - began
    cuts = statistics.quantiles(firsts, n=20, method="inclusive") if len(firsts) > 1 else firsts * 19
    return {
        "tokens_per_second": sum(counts) / seconds,
        "tokens": sum(counts),
        "first_token_p50_ms": 1000 * statistics.median(firsts),
        "first_token_p95_ms": 1000 * cuts[18],
    }


def measure(side: str, given: argparse.Namespace, base: Path, home: Path) -> dict[str, Any]:
    """One side, at every concurrency."""
    if side == "generate":
        return json.loads(_said(given, base))
    renderer, lines = Renderer(base), {}
    with _server(side, given, base, home) as server:
        asyncio.run(load(server, renderer, 2, prompts(2), given.tokens))  # warms up
        asked = 2
        for concurrency in given.concurrency:
            texts = prompts(max(given.requests, concurrency), asked)
            asked += len(texts)
            lines[str(concurrency)] = asyncio.run(load(server, renderer, concurrency, texts, given.tokens))
    return {"start_seconds": server.start_seconds, "at": lines}


def mixed(given: argparse.Namespace, base: Path, home: Path, references: Sequence[str]) -> dict[str, Any]:
    """Ours with one adapter for all requests, and with all adapters in turn."""
    renderer, concurrency = Renderer(base), max(given.concurrency)
    count, found = max(given.requests, concurrency), {}
    with ours(home, base) as server:
        for name in references:  # loads them
            asyncio.run(load(server._replace(model=name), renderer, 1, prompts(1), 2))
        for number, (label, models) in enumerate(
            (("base", (server.model,)), ("one", references[:1]), ("mixed", references))
        ):
            texts = prompts(count, 1 + number * count)
            asked = [(text, models[place % len(models)]) for place, text in enumerate(texts)]
            found[label] = asyncio.run(load_many(server, renderer, concurrency, asked, given.tokens))
    return found


def _server(side: str, given: argparse.Namespace, base: Path, home: Path) -> AbstractContextManager[Server]:
    if side == "ours":
        return ours(home, base)
    if side == "transformers":
        return transformers_serve(base, resolve_precision(given.precision))
    return llama_cpp(given.llama_python, given.gguf)


def _said(given: argparse.Namespace, base: Path) -> str:
    """The last line that the child which generates prints."""
    command = [sys.executable, "-m", "bench.serving.generate", str(base), resolve_precision(given.precision)]
    options = [str(given.requests), str(given.tokens), *map(str, given.concurrency)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "GOMP_SPINCOUNT": "0"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"generate failed:\n{done.stderr[-3000:]}")
    return done.stdout.strip().splitlines()[-1]


def _sides(given: argparse.Namespace) -> Iterator[str]:
    for side in given.only:
        if side == "llama.cpp" and not (given.llama_python and given.gguf):
            print("llama.cpp: skipped, it needs --llama-python and --gguf", flush=True)
            continue
        yield side


def main() -> None:
    """Measure every side in turn, round after round, and write all that was found."""
    from bench.serving.adapters import register_adapters

    given = _arguments()
    base = resolve_base(ModelSpec(base=given.base), Settings().home)
    rounds = []
    with tempfile.TemporaryDirectory() as folder, nullcontext(Path(folder) / "home") as home:
        references = register_adapters(base, home, given.adapters) if given.adapters else ()
        for number in range(given.rounds):
            neighbours, found = Neighbours(), {}
            for side in _sides(given):
                found[side] = measure(side, given, base.path, home)
                print(f"round {number + 1}: {side}: {json.dumps(found[side])}", flush=True)
            if references:
                found["adapters"] = mixed(given, base.path, home, references)
                print(f"round {number + 1}: adapters: {json.dumps(found['adapters'])}", flush=True)
            rounds.append(found | {"neighbours": neighbours.share()})
    if given.out:
        given.out.write_text(json.dumps({"options": _plain(given), "rounds": rounds}, indent=2) + "\n")


def _plain(given: argparse.Namespace) -> dict[str, Any]:
    kept = ("requests", "tokens", "concurrency", "precision", "adapters")
    return {name: getattr(given, name) for name in kept} | {"base": given.base}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=32, help="at each concurrency")
    parser.add_argument("--tokens", type=int, default=32, help="most tokens of an answer")
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--only", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--adapters", type=int, default=8, help="0: leave the mixed load out")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--base", default=ModelSpec().base, help="as model.base of a recipe")
    parser.add_argument("--llama-python", help="an interpreter that has llama-cpp-python[server]")
    parser.add_argument("--gguf", type=Path, help="the same model as a GGUF file")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
