"""A briefly trained adapter of any method, in a second on the tiny model: for tests of whatever loads or serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from tunesmith import plugins
from tunesmith.models.adapter import AdapterIdentity, adapter_state, save_adapter
from tunesmith.models.attach import METHODS
from tunesmith.models.method import Method
from tunesmith.models.weights import load_base, resolve_base
from tunesmith.types.conversation import Rendered
from tunesmith.types.recipe import ModelSpec, PluginSpec

__all__ = ["IDS", "Trained", "train_briefly"]

IDS = (5, 6, 7, 8, 40, 41, 42, 43)


class Trained(NamedTuple):
    """The method, the trained module and the digest of the saved adapter."""

    method: Method
    model: Any
    digest: str


def train_briefly(base: Path, folder: Path, choice: PluginSpec, steps: int = 3) -> Trained:
    """Train the method of `choice` on `IDS` for a few steps and save it to `folder` as a run would."""
    method = plugins.load(METHODS, choice.name).model_validate(choice.options)
    if not isinstance(method, Method):
        raise TypeError(f"{choice.name} is not a method")
    model = method.wrap(load_base(base, "float32"), 0)
    method.start_from_rows(model, [Rendered(token_ids=IDS, loss_weights=(1.0,) * len(IDS), spans=())] * 8)
    start = method.start(model)
    groups = [{"params": list(group.parameters)} for group in method.parameter_groups(model)]
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    front = method.virtual_ids()
    ids, labels = torch.tensor([(*front, *IDS)]), torch.tensor([(*([-100] * len(front)), *IDS)])
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        model(ids, labels=labels).loss.backward()
        optimizer.step()
        method.after_step(model, step, steps)
    files = resolve_base(ModelSpec(base=str(base)), folder.parent)
    identity = AdapterIdentity(base=str(base), base_digest=files.digest, template_digest="1", tokenizer_digest="2")
    digest = save_adapter(method.export(model, adapter_state(model), start), identity, folder)
    return Trained(method, model.eval(), digest)
