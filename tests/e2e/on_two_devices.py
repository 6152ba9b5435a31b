"""Whole runs on the processor and on `tests.other_device`, for a process of its own; prints what came out as JSON.

python -m tests.e2e.on_two_devices HOME BASE CASE...
"""

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests import other_device

__all__ = ["CASES"]

RESUMED = ("lora",)
LORA = {"name": "lora", "rank": 4}
CASES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "lora": {"method": {**LORA, "dropout": 0.1}, "accumulate": 2},
        "padded": {"batching": "padded"},
        "last layer": {"method": {**LORA, "last_layers": 1}},
        "full": {"method": {"name": "full"}, "learning_rate": 0.001},
        "bottleneck": {"method": {"name": "bottleneck"}},
        "prefix": {"method": {"name": "prefix"}},
        "dpo": {"objective": {"name": "dpo"}},
        "reward": {"objective": {"name": "reward"}},
        "grpo": {"epochs": 4},
    }
)


class EndedError(Exception):
    """The end of a run that was not to end yet."""


def main(home: Path, base: Path, cases: list[str]) -> None:
    """One line of JSON: case -> device -> what a run there gave."""
    found = {case: {device: _run(home, base, case, device) for device in ("cpu", other_device.NAME)} for case in cases}
    sys.stdout.write(json.dumps(found) + "\n")


def _run(home: Path, base: Path, case: str, device: str) -> dict[str, Any]:
    from tests.invariant import policy_runs, runs, test_preference_runs

    changes = {"device": device, "epochs": 1, **CASES[case]}
    if changes.get("batching") != "padded":
        changes["attention"] = "dense"
    place = home / f"{case} {device}".replace(" ", "-")
    if "objective" in changes:
        record = test_preference_runs.run(place, base, changes.pop("objective"), **changes)
    else:
        record = (policy_runs if case == "grpo" else runs).run(place, base, **changes)
    resumed = _interrupted_and_resumed(place / "killed", base, changes) if case in RESUMED else record.adapter_digest
    adapter, held = Path(record.path) / "adapter", record.held_out_preferences
    return {
        "device": record.device,
        "start": record.start_validation_loss,
        "end": [record.best_validation_loss, held.mean_margin if held else 0.0],
        "checks": {check.name: check.passed for check in record.checks},
        "adapter": str(adapter),
        "resumed to the same bytes": resumed == record.adapter_digest,
        "answer": asyncio.run(_answer(base, adapter, device)),
    }


def _interrupted_and_resumed(home: Path, base: Path, changes: dict[str, Any]) -> str:
    """Digest of the adapter of a run that ended in its fifth step and was started again."""
    from tests.invariant.runs import run
    from tunesmith.train import loop

    step = loop._step

    def ends(training: Any, number: int) -> Any:
        if number == 4:
            raise EndedError
        return step(training, number)

    loop._step = ends  # type: ignore[assignment]
    try:
        run(home, base, **changes)
    except EndedError:
        loop._step = step
    return run(home, base, **changes).adapter_digest


async def _answer(base: Path, adapter: Path, device: str) -> list[float]:
    """Log-probabilities of a sampled answer, base and adapter in one batch, and of a scored one, from the engine."""
    from tunesmith.engine.backends.embedded import Embedded
    from tunesmith.engine.engine import GenerationRequest, Sampling
    from tunesmith.models.adapter import adapter_digest

    engine = Embedded(device=device, precision="float32").start(base)
    try:
        digest = adapter_digest(adapter)
        await engine.load_adapter(digest, adapter)
        sampling = Sampling(max_tokens=8, temperature=1.0, seed=3)

        async def ask(name: str | None) -> list[float]:
            request = GenerationRequest(prompt_ids=(1, 70, 80, 90), adapter=name, sampling=sampling)
            return [event.logprob async for event in engine.submit(request)]

        asked = await asyncio.gather(ask(None), ask(digest), ask(None))
        return [*(value for own in asked for value in own), *await engine.score((1, 60, 61), (62, 63), digest)]
    finally:
        await engine.close()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kept = other_device.register()
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
