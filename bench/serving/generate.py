"""transformers' generate on static batches: a batch begins when the last answer of the one before is done.

    python -m bench.serving.generate BASE PRECISION REQUESTS TOKENS CONCURRENCY...

Prints one line of JSON in the form of a served side. The time to first token is that of a request's whole batch: a
static batch gives nothing before it is done.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from bench.serving.prompts import prompts
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.types.conversation import Message

__all__ = ["main"]


def _batch(model: Any, renderer: Renderer, texts: list[str], tokens: int) -> int:
    """Generate greedily for one padded batch; how many tokens came, without those after an end."""
    rows = [renderer.prompt_ids([Message(role="user", content=text)]) for text in texts]
    longest, end = max(map(len, rows)), renderer.end_of_turn_id
    ids = torch.full((len(rows), longest), end)
    visible = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, longest - len(row) :] = torch.tensor(row)
        visible[index, longest - len(row) :] = 1
    stops = sorted(renderer.stop_ids)
    found = model.generate(
        ids, attention_mask=visible, do_sample=False, max_new_tokens=tokens, eos_token_id=stops, pad_token_id=end
    )
    answers = found[:, longest:].tolist()
    return sum(next((at for at, token in enumerate(row) if token in renderer.stop_ids), len(row)) for row in answers)


def main() -> None:
    """Measure at every concurrency."""
    base, precision, requests, tokens, *concurrencies = sys.argv[1:]
    began = time.perf_counter()
    model: Any = load_base(Path(base), "bfloat16" if precision == "bfloat16" else "float32")
    renderer = Renderer(Path(base))
    start, lines = time.perf_counter() - began, {}
    _batch(model, renderer, prompts(2), 4)  # warms up
    asked = 2
    for size in map(int, concurrencies):
        texts = prompts(max(int(requests), size), asked)
        asked += len(texts)
        firsts, count, began = [], 0, time.perf_counter()
        for at in range(0, len(texts), size):
            before = time.perf_counter()
            count += _batch(model, renderer, texts[at : at + size], int(tokens))
            firsts += [time.perf_counter() - before] * len(texts[at : at + size])
        cuts = statistics.quantiles(firsts, n=20, method="inclusive") if len(firsts) > 1 else firsts * 19
        lines[str(size)] = {
            "tokens_per_second": count / (time.perf_counter() - began),
            "tokens": count,
            "first_token_p50_ms": 1000 * statistics.median(firsts),
            "first_token_p95_ms": 1000 * cuts[18],
        }
    print(json.dumps({"start_seconds": start, "at": lines}))


if __name__ == "__main__":
    main()
