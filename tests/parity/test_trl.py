"""TRL is the oracle: on a fixed batch our loss and gradients equal those of its SFTTrainer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.models.methods.lora import Lora
from tunesmith.models.template import Renderer
from tunesmith.models.weights import load_base
from tunesmith.train import attention
from tunesmith.train.forward import score
from tunesmith.types.conversation import Conversation

ROWS = [
    ("Answer with one word.", "hello there", "hi"),
    ("Answer with one word.", "who?", "me"),
    ("Be kind.", "no", "yes, do"),
]


@pytest.fixture(scope="module")
def trl_loss(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, dict[str, torch.Tensor]]:
    """TRL's loss and LoRA gradients on ROWS as one batch."""
    os.environ["WANDB_DISABLED"] = "true"
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    turn = [("system", "user"), ("assistant",)]
    rows = [
        {
            "prompt": [{"role": role, "content": text} for role, text in zip(turn[0], row[:2], strict=True)],
            "completion": [{"role": "assistant", "content": row[2]}],
        }
        for row in ROWS
    ]
    config = trl.SFTConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")),
        per_device_train_batch_size=len(rows),
        report_to="none",
        bf16=False,
        use_cpu=True,
        completion_only_loss=True,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
    )
    model = adapted(load_base(tiny, "float32"))
    trainer = trl.SFTTrainer(
        model=model, args=config, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer
    )
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), gradients(trainer.model)


def adapted(base: Any) -> Any:
    model = Lora(rank=4).wrap(base, seed=0).train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TRL's and datasets' own warnings
@pytest.mark.parametrize("batching", ["tree", "padded"])
def test_loss_and_gradients_equal_trl(
    trl_loss: tuple[float, dict[str, torch.Tensor]], tiny: Path, chat: Callable[..., Conversation], batching: Any
) -> None:
    expected, expected_gradients = trl_loss
    attention.register()
    name = attention.ATTENTION if batching == "tree" else "sdpa"
    model = adapted(load_base(tiny, "float32", attention=name))
    renderer = Renderer(tiny)
    rows = [renderer.render(chat(system, user, answer)) for system, user, answer in ROWS]
    scored = score(model, rows, batching)
    loss = -(scored.logprobs * scored.weights).sum() / scored.weights.sum()
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    got = gradients(model)
    assert set(got) == set(expected_gradients)
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-3, atol=1e-5)
