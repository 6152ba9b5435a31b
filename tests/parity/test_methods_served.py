"""Every method, found by listing the folder, is served with the log-probabilities that training ended with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith import plugins
from tunesmith.engine.backends.embedded import Embedded
from tunesmith.models.adapter import AdapterIdentity, adapter_digest, adapter_state, save_adapter
from tunesmith.models.method import Method
from tunesmith.models.weights import load_base, resolve_base
from tunesmith.train.optimizer import make_optimizer
from tunesmith.types.conversation import Rendered
from tunesmith.types.recipe import ModelSpec

IDS = (5, 6, 7, 8, 40, 41, 42, 43)
ROWS = tuple(Rendered(token_ids=IDS, loss_weights=(1.0,) * 8, spans=()) for _ in range(8))
CASES: list[dict[str, Any]] = [
    *({"name": name} for name in plugins.names("tunesmith.models.methods")),
    {"name": "lora", "init": "pissa", "rank": 4},
    {"name": "lora", "init": "eva", "rank": 4, "rslora": True, "rank_pattern": {"down_proj": 6}},
    {"name": "bottleneck", "placement": "pfeiffer"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_the_engine_scores_as_the_trained_model(case: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
    options = {name: value for name, value in case.items() if name != "name"}
    method = plugins.load("tunesmith.models.methods", case["name"]).model_validate(options)
    assert isinstance(method, Method)
    model = method.wrap(load_base(tiny, "float32"), 0)
    method.start_from_rows(model, ROWS)
    start = method.start(model)
    optimizer = make_optimizer(method.parameter_groups(model), 0.02, 0.0)
    virtual = method.virtual_ids()
    ids, labels = torch.tensor([[*virtual, *IDS]]), torch.tensor([[-100] * len(virtual) + list(IDS)])
    for step in (1, 2, 3):
        optimizer.zero_grad()
        model(ids, labels=labels).loss.backward()
        optimizer.step()
        method.after_step(model, step, 3)
    digest = resolve_base(ModelSpec(base=str(tiny)), tmp_path).digest
    identity = AdapterIdentity(base="tiny", base_digest=digest, template_digest="1", tokenizer_digest="2")
    save_adapter(method.export(model, adapter_state(model), start), identity, tmp_path / "adapter")
    with torch.no_grad():
        logprobs = model.eval()(ids).logits[0, len(virtual) :].log_softmax(-1)
    expected = [float(logprobs[place - 1, IDS[place]]) for place in range(3, len(IDS))]
    got = asyncio.run(served(tiny, tmp_path / "adapter"))
    assert got == pytest.approx(expected, abs=1e-3)


async def served(base: Path, folder: Path) -> tuple[float, ...]:
    engine = Embedded(precision="float32").start(base)
    try:
        name = adapter_digest(folder)
        await engine.load_adapter(name, folder)
        return await engine.score(IDS[:3], IDS[3:], name)
    finally:
        await engine.close()
