"""TRL is the oracle: on the very batch its SFTTrainer collates, our loss and gradients equal its own.

The batch is taken as TRL made it (its ids and labels), because TRL also trains the line break after the end-of-turn
token, which no server ever generates and which our renderer leaves out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tests.parity.measured import TRL_ON_A_PROCESSOR
from tunesmith.models.methods.lora import Lora
from tunesmith.models.weights import load_base
from tunesmith.train import attention
from tunesmith.train.forward import score
from tunesmith.types.conversation import Rendered

ROWS = [
    ("Answer with one word.", "hello there", "hi"),
    ("Answer with one word.", "who?", "me"),
    ("Be kind.", "no", "yes, do"),
]


class Oracle(NamedTuple):
    loss: float
    gradients: dict[str, torch.Tensor]
    rows: list[Rendered]


@pytest.fixture(scope="module")
def oracle(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """TRL's loss and LoRA gradients on ROWS as one batch, and that batch."""
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
        use_cpu=True,
        completion_only_loss=True,
        **TRL_ON_A_PROCESSOR,
    )
    model = adapted(load_base(tiny, "float32"))
    trainer = trl.SFTTrainer(
        model=model, args=config, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer
    )
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return Oracle(loss.item(), gradients(trainer.model), [rendered(batch, row) for row in range(len(rows))])


def rendered(batch: Any, row: int) -> Rendered:
    length = int((batch["attention_mask"][row] if "attention_mask" in batch else batch["input_ids"][row] >= 0).sum())
    labels = batch["labels"][row][:length]
    return Rendered(
        token_ids=tuple(batch["input_ids"][row][:length].tolist()),
        loss_weights=tuple((labels != -100).float().tolist()),
        spans=(),
    )


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
def test_loss_and_gradients_equal_trl(oracle: Oracle, tiny: Path, batching: Any) -> None:
    attention.register()
    name = attention.ATTENTION if batching == "tree" else "sdpa"
    model = adapted(load_base(tiny, "float32", attention=name))
    scored = score(model, oracle.rows, batching)
    loss = -(scored.logprobs * scored.weights).sum() / scored.weights.sum()
    loss.backward()
    assert loss.item() == pytest.approx(oracle.loss, rel=1e-5)
    got = gradients(model)
    assert set(got) == set(oracle.gradients)
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, oracle.gradients[name], rtol=1e-3, atol=1e-5)
