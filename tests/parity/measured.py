"""What several parity tests measure with: a fresh engine, and a model's loss and gradients three ways."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch

from tunesmith.engine.backends.embedded import Embedded
from tunesmith.models.methods.lora import Lora
from tunesmith.models.weights import load_base
from tunesmith.train import attention
from tunesmith.train.forward import attention_backend, score, score_plainly
from tunesmith.types.conversation import Rendered

__all__ = ["TRL_ON_A_PROCESSOR", "lora_off_its_start", "loss_and_gradients", "with_engine"]

Result = TypeVar("Result")

# What TRL's trainers are told so that they run the plain computation here and write to nobody.
TRL_ON_A_PROCESSOR: Mapping[str, Any] = MappingProxyType(
    {"report_to": "none", "bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False}
)


def with_engine(base: Path, work: Callable[[Any], Awaitable[Result]], **options: Any) -> Result:
    """What `work` gives on a fresh embedded engine (float32 unless told), which is closed afterwards."""

    async def run() -> Result:
        engine = Embedded(**{"precision": "float32"} | options).start(base)
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


def lora_off_its_start(base: Path) -> Any:
    """A LoRA of rank 4 on the base in `base`, in training; its B, which starts at zero, is moved so that every product
    matters.
    """
    attention.register()
    wrapped = Lora(rank=4).wrap(load_base(base, "float32", attention=attention.ATTENTION), seed=0).train()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.2)
    return wrapped


def loss_and_gradients(model: Any, rows: Sequence[Rendered], how: str) -> tuple[float, torch.Tensor]:
    """Mean negative log-likelihood of `rows` and all its gradients, flat: plain row by row, padded, as tree, or
    as tree with another attention (its name).
    """
    model.zero_grad()
    tree = {"tree": attention.ATTENTION}.get(how, how)
    batching: Any = "tree" if tree in attention.TREE_ATTENTIONS else "padded"
    with attention_backend(model, tree if batching == "tree" else "sdpa"):
        if how == "plain":
            loss = -torch.cat(score_plainly(model, rows)).sum() / sum(row.trained_tokens for row in rows)
        else:
            scored = score(model, rows, batching)
            loss = -(scored.logprobs * scored.weights).sum() / scored.weights.sum()
        loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
